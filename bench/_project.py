"""A sandbox with a realistic account in it, and a call of every tool about it."""

from __future__ import annotations

import json
import re
from typing import Any

from _common import KEY
from _servers import ask

PEOPLE = (
    *("ada.lovelace", "ben.okri", "carla.rossi", "daniel.kim", "eva.novak", "farid.haddad", "grace.mbeki", "hugo.lind"),
    *(
        "ines.duarte",
        "jonas.weber",
        "kira.sato",
        "liam.byrne",
        "maya.cohen",
        "noor.ahmed",
        "olga.petrova",
        "paul.martin",
    ),
    *("quinn.harper", "rosa.alvarez", "sven.berg", "tara.singh", "ugo.conti", "vera.kovac", "wei.zhang", "yusuf.demir"),
)
TEAM = [f"{name}@labels.example.com" for name in PEOPLE]
PROJECTS = (
    *("museum_coins", "street_scenes_night", "warehouse_pallets", "parking_lots", "retail_shelves", "road_signs"),
    *("construction_sites", "delivery_vans", "harbour_cranes", "airport_aprons", "crop_rows", "solar_panels"),
)
MAIN = PROJECTS[0]
BOXES = {"box": {"objects_to_annotate": ["coin"], "min_width": 10, "min_height": 10}}
INSTRUCTION = (
    "# Coins on a tray\n\n" + "Draw a tight box around each coin, also where one covers another in part. " * 12
)
WEEKS, PER_WEEK = 24, 12
WEEK = 7 * 86_400
FILES = 40


def furnish(box: str) -> dict[str, str]:
    """Fill the sandbox at ``box`` (its clock is a manual one); gives the names and ids that the calls are about."""

    def post(path: str, body: Any, method: str | None = None) -> Any:
        return ask(f"{box}/v1{path}", body, method)

    picture = f"{box}/_sandbox/data/coins.jpg"
    people = [{"email": email, "role": "labeler"} for email in TEAM]
    ask(f"{box}/_sandbox/seed", {"key": KEY, "dataset": True, "team": people})
    for name in PROJECTS:
        params = {"geometries": BOXES, "instruction": INSTRUCTION, "padding": 20}
        flavour = {"rapid": True} if name == MAIN else {"studio": True}
        post("/projects", {"type": "imageannotation", "name": name, "params": params, **flavour})
    for week in range(WEEKS):
        batch = batch_name(week)
        post("/batches", {"project": MAIN, "name": batch, "callback": "hooks@example.com"})
        for number in range(PER_WEEK):
            post("/task/imageannotation", a_task(picture, week, number))
        if week < WEEKS - 4:
            post(f"/batches/{batch}/finalize", {})
        ask(f"{box}/_sandbox/clock/advance", {"seconds": WEEK})
    for week in range(WEEKS - 4, WEEKS - 1):
        post(f"/batches/{batch_name(week)}/finalize", {})
    post("/studio/assignments/add", {"emails": TEAM, "projects": list(PROJECTS[:6])})
    for number in range(FILES):
        post("/files/import", {"file_url": picture, "project_name": MAIN, "reference_id": f"tray-{number:04d}"})
    post("/projects", {"type": "lidarsegmentation", "name": "road_points"})
    masks = {"project": "museum_coin_masks", "attachment": picture, "labels": ["background", "coin"]}
    post("/projects", {"type": "segmentannotation", "name": masks["project"]})
    segmented = post("/task/segmentannotation", masks)["task_id"]
    quality = [post("/evaluation_tasks/imageannotation", an_evaluation(picture))["id"] for _ in range(3)]
    ask(f"{box}/_sandbox/clock/advance", {"seconds": WEEK / 7})
    first = ask(f"{box}/v1/tasks?batch={batch_name(2)}&status=completed&limit=1")["docs"][0]["task_id"]
    waiting = [post("/task/imageannotation", a_task(picture, WEEKS, number))["task_id"] for number in range(3)]
    for number in range(6):
        post("/audits", an_audit(first, number), "PUT")
    for name in PROJECTS[1:9]:
        for batch in (f"{name}_first", f"{name}_second"):
            post("/batches", {"project": name, "name": batch})
            for number in range(PER_WEEK // 2):
                post("/task/imageannotation", {"project": name, "batch": batch, "attachment": f"{picture}?{number}"})
            post(f"/batches/{batch}/finalize", {})
    studio = [batch["name"] for batch in ask(f"{box}/v1/studio/batches")]
    files = re.findall(r"response_url/([0-9a-f-]{36})", json.dumps(ask(f"{box}/v1/task/{segmented}")))
    return {
        "picture": picture,
        "task": first,
        "segmented": segmented,
        "file": files[0] if files else "",
        "waiting": waiting[0],
        "cancelled": waiting[1],
        "quality": ",".join(quality),
        "studio": ",".join(reversed(studio)),
        "staging": batch_name(WEEKS - 1),
        "finished": batch_name(2),
    }


def batch_name(week: int) -> str:
    return f"{MAIN}_week_{week + 1:02d}"


def a_task(picture: str, week: int, number: int) -> dict[str, Any]:
    return {
        "batch": batch_name(min(week, WEEKS - 1)),
        "attachment": picture,
        "callback_url": "hooks@example.com",
        "unique_id": f"tray-2026-{week:02d}-{number:04d}",
        "metadata": {"tray": f"cabinet-{week % 7 + 1}/drawer-{number + 1}", "camera": "overhead", "frame": number},
        "tags": ["roman", "worn"] if number % 3 == 0 else ["roman"],
    }


def an_evaluation(picture: str) -> dict[str, Any]:
    box = {"type": "box", "label": "coin", "left": 10, "top": 20, "width": 40, "height": 40}
    return {"project": MAIN, "attachment": picture, "geometries": BOXES, "expected_response": {"annotations": [box]}}


def an_audit(task_id: str, number: int) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "result": "commented",
        "response_url": f"https://example.com/responses/{number}",
        "comments": "The third coin from the left is cut off at its rim; otherwise tight and complete.",
        "feedback_items": [{"type": "error", "comment": "Cut off at the rim", "scope": {"annotation": str(number)}}],
    }


def calls(at: dict[str, str]) -> dict[str, dict[str, Any]]:
    """For each tool the arguments of a plain call, nothing optional. Reading comes first, then what changes things."""
    picture, task, waiting = at["picture"], at["task"], at["waiting"]
    clip = [picture, picture, picture]
    new = f"{MAIN}_week_25"
    return {
        "get_task": {"task_id": task},
        "list_tasks": {},
        "get_task_response": {"task_id": at["segmented"], "uuid": at["file"]},
        "get_batch": {"batch_name": at["finished"]},
        "get_batch_status": {"batch_name": at["finished"]},
        "list_batches": {},
        "get_project": {"name": MAIN},
        "list_projects": {},
        "list_assets": {"project": MAIN},
        "list_teammates": {},
        "get_studio_assignments": {},
        "get_studio_batches": {},
        "get_fixless_audits": {"task_id": task},
        "get_training_attempts": {"quality_task_ids": at["quality"].split(",")},
        "create_image_annotation_task": {"batch": at["staging"], "attachment": picture},
        "create_segmentation_task": {"project": "museum_coin_masks", "attachment": picture, "labels": ["coin"]},
        "create_video_annotation_task": {
            "attachments": clip,
            "attachment_type": "image",
            "geometries": BOXES,
            "frame_rate": 1,
        },
        "create_video_playback_annotation_task": {
            "attachment": "https://example.com/street.mp4",
            "geometries": BOXES,
            "frame_rate": 1,
        },
        "create_lidar_annotation_task": {"attachments": ["https://example.com/frame-0.json"], "labels": ["car"]},
        "create_lidar_segmentation_task": {
            "project": "road_points",
            "attachments": ["https://example.com/frame-0.json"],
            "labels": ["road"],
        },
        "create_named_entity_recognition_task": {
            "text": "Ada Lovelace lived in London.",
            "labels": [{"name": "person", "description": "A person's name"}],
        },
        "create_text_collection_task": {
            "attachments": [{"type": "image", "content": picture}],
            "fields": [{"type": "text", "field_id": "legend", "title": "Legend of the largest coin"}],
        },
        "create_document_transcription_task": {"attachment": picture, "features": [{"type": "text", "label": "total"}]},
        "create_evaluation_task": {"type": "imageannotation", **an_evaluation(picture)},
        "add_task_tags": {"task_id": waiting, "tags": ["silver"]},
        "set_task_tags": {"task_id": waiting, "tags": ["silver", "roman"]},
        "delete_task_tags": {"task_id": waiting, "tags": ["silver"]},
        "update_task_unique_id": {"task_id": waiting, "unique_id": "tray-renamed"},
        "set_task_metadata": {"task_id": waiting, "metadata": {"tray": "cabinet-3/drawer-2"}},
        "delete_task_unique_id": {"task_id": waiting},
        "cancel_task": {"task_id": at["cancelled"]},
        "resend_task_callback": {"task_id": task},
        "create_batch": {"project": MAIN, "name": new},
        "prioritize_batch": {"batch_name": at["staging"], "priority": 25},
        "finalize_batch": {"batch_name": at["staging"]},
        "create_project": {"name": "museum_medals", "type": "imageannotation"},
        "set_project_params": {"name": MAIN, "patch": True, "instruction": "Draw a tight box around each coin."},
        "set_project_ontology": {"name": MAIN, "ontology": ["coin", "medal"]},
        "upload_file": {"file_base64": "aGVsbG8=", "file_name": "hello.txt", "project_name": MAIN},
        "import_file": {"file_url": picture, "project_name": MAIN},
        "invite_team_member": {"emails": ["new.person@labels.example.com"], "team_role": "labeler"},
        "set_teammate_role": {"emails": [TEAM[0]], "team_role": "member"},
        "add_studio_assignments": {"emails": [TEAM[0]], "projects": [PROJECTS[7]]},
        "remove_studio_assignments": {"emails": [TEAM[0]], "projects": [PROJECTS[7]]},
        "set_studio_batch_priorities": {"batch_names": at["studio"].split(",")},
        "reset_studio_batch_priorities": {},
    }
