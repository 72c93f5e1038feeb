"""For each tool, arguments that it accepts: what tests call it with when any call will do."""

from __future__ import annotations

from typing import Any

PICTURE = "https://example.com/street.jpg"
BOXES = {"box": {"objects_to_annotate": ["car", "person"]}}
TASK = "5774cc78b01249ab09f089dd"

ARGUMENTS: dict[str, dict[str, Any]] = {
    "create_image_annotation_task": {"project": "streets", "attachment": PICTURE, "geometries": BOXES},
    "create_segmentation_task": {"project": "streets", "attachment": PICTURE, "labels": ["road", "sky"]},
    "create_video_annotation_task": {
        "project": "streets",
        "attachment_type": "image",
        "attachments": [PICTURE, PICTURE],
        "geometries": BOXES,
        "frame_rate": 1,
    },
    "create_video_playback_annotation_task": {
        "project": "streets",
        "attachment": "https://example.com/street.mp4",
        "geometries": BOXES,
        "frame_rate": 1,
    },
    "create_lidar_annotation_task": {
        "project": "streets",
        "attachments": ["https://example.com/frame-0.json"],
        "labels": ["car"],
    },
    "create_lidar_segmentation_task": {
        "project": "streets",
        "attachments": ["https://example.com/frame-0.json"],
        "labels": ["road"],
    },
    "create_named_entity_recognition_task": {
        "project": "letters",
        "text": "Ada lives in London.",
        "labels": [{"name": "person", "description": "A person's name"}],
    },
    "create_text_collection_task": {
        "project": "forms",
        "attachments": [{"type": "image", "content": PICTURE}],
        "fields": [{"type": "text", "field_id": "shop", "title": "Name of the shop"}],
    },
    "create_document_transcription_task": {
        "project": "receipts",
        "attachment": PICTURE,
        "features": [{"type": "text", "label": "total"}],
    },
    "create_evaluation_task": {
        "type": "imageannotation",
        "project": "streets",
        "attachment": PICTURE,
        "geometries": BOXES,
        "expected_response": {"annotations": []},
    },
    "get_task": {"task_id": TASK},
    "list_tasks": {"project": "streets"},
    "cancel_task": {"task_id": TASK},
    "add_task_tags": {"task_id": TASK, "tags": ["night"]},
    "set_task_tags": {"task_id": TASK, "tags": ["night"]},
    "delete_task_tags": {"task_id": TASK, "tags": ["night"]},
    "update_task_unique_id": {"task_id": TASK, "unique_id": "streets-1"},
    "delete_task_unique_id": {"task_id": TASK},
    "set_task_metadata": {"task_id": TASK, "metadata": {"scene": 7}},
    "get_task_response": {"task_id": TASK, "uuid": "2c9be8ae-7f3e-4a4d-9b1f-0f6f0c7d6f4e"},
    "resend_task_callback": {"task_id": TASK},
    "create_batch": {"project": "streets", "name": "night"},
    "finalize_batch": {"batch_name": "night"},
    "get_batch": {"batch_name": "night"},
    "get_batch_status": {"batch_name": "night"},
    "list_batches": {"project": "streets"},
    "prioritize_batch": {"batch_name": "night", "priority": 20},
    "create_project": {"name": "streets", "type": "imageannotation"},
    "get_project": {"name": "streets"},
    "list_projects": {},
    "set_project_params": {"name": "streets", "patch": True, "instruction": "Draw a tight box around each car."},
    "set_project_ontology": {"name": "streets", "ontology": ["car", "person"]},
    "upload_file": {"file_base64": "aGVsbG8=", "file_name": "hello.txt", "project_name": "streets"},
    "import_file": {"file_url": PICTURE, "project_name": "streets"},
    "list_assets": {"project": "streets"},
    "list_teammates": {},
    "invite_team_member": {"emails": ["ada@example.com"], "team_role": "labeler"},
    "set_teammate_role": {"emails": ["ada@example.com"], "team_role": "member"},
    "get_studio_assignments": {},
    "add_studio_assignments": {"emails": ["ada@example.com"], "projects": ["streets"]},
    "remove_studio_assignments": {"emails": ["ada@example.com"], "projects": ["streets"]},
    "get_studio_batches": {},
    "set_studio_batch_priorities": {"batch_names": ["night"]},
    "reset_studio_batch_priorities": {},
    "get_fixless_audits": {"task_id": TASK},
    "get_training_attempts": {"labeler_emails": ["ada@example.com"]},
}

HOSTED_ARGUMENTS: dict[str, dict[str, Any]] = {
    "list_events": {"project": "streets", "kinds": ["completed", "audited"], "limit": 5},
    "wait_for_events": {"batch": "night", "timeout_s": 5},
}
"""The same for the tools that only hosted servers have."""
