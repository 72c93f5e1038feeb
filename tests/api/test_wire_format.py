"""What each operation puts on the wire: verb, path, query, body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scale_mcp.api import ScaleApi
from scale_mcp.models.batches import BatchFilter
from scale_mcp.models.tasks import TaskFilter

from .scripted import TASK, TASK_ID, ok, scale

pytestmark = pytest.mark.anyio

BATCH = {"name": "b", "project": "p", "status": "staging"}
PROJECT = {"name": "p", "type": "imageannotation", "param_history": []}
GROUP = {"id": "1", "name": "g", "numWorkers": 1, "isSingleton": False}
STUDIO_BATCH = {"id": "1", "name": "b", "projectName": "p"}
ABSENT = None

Do = Callable[[ScaleApi], Awaitable[Any]]

OPERATIONS: list[tuple[str, Do, Any, str, Any]] = [
    # name, call, Scale's answer, request line, request body
    ("get task", lambda a: a.tasks.get(TASK_ID), TASK, f"GET /task/{TASK_ID}", ABSENT),
    ("cancel", lambda a: a.tasks.cancel(TASK_ID), TASK, f"POST /task/{TASK_ID}/cancel", ABSENT),
    (
        "cancel and free the id",
        lambda a: a.tasks.cancel(TASK_ID, clear_unique_id=True),
        TASK,
        f"POST /task/{TASK_ID}/cancel?clear_unique_id=true",
        ABSENT,
    ),
    ("add tags", lambda a: a.tasks.add_tags(TASK_ID, ["a", "b"]), TASK, f"PUT /task/{TASK_ID}/tags", ["a", "b"]),
    ("set tags", lambda a: a.tasks.set_tags(TASK_ID, ("a",)), TASK, f"POST /task/{TASK_ID}/tags", ["a"]),
    ("set no tags", lambda a: a.tasks.set_tags(TASK_ID, []), TASK, f"POST /task/{TASK_ID}/tags", []),
    ("delete tags", lambda a: a.tasks.delete_tags(TASK_ID, ["a"]), TASK, f"DELETE /task/{TASK_ID}/tags", ["a"]),
    (
        "set unique id",
        lambda a: a.tasks.set_unique_id(TASK_ID, "u"),
        TASK,
        f"POST /task/{TASK_ID}/unique_id",
        {"unique_id": "u"},
    ),
    ("clear unique id", lambda a: a.tasks.clear_unique_id(TASK_ID), TASK, f"DELETE /task/{TASK_ID}/unique_id", ABSENT),
    (
        "task metadata",
        lambda a: a.tasks.set_metadata(TASK_ID, {"a": {"b": None}}),
        TASK,
        f"POST /task/{TASK_ID}/setMetadata",
        {"a": {"b": None}},
    ),
    ("no metadata", lambda a: a.tasks.set_metadata(TASK_ID, {}), TASK, f"POST /task/{TASK_ID}/setMetadata", {}),
    (
        "audit",
        lambda a: a.tasks.audit(TASK_ID, accepted=True),
        {},
        f"POST /task/{TASK_ID}/audit",
        {"accepted": True, "comments": None},
    ),
    ("callback", lambda a: a.tasks.send_callback(TASK_ID), {}, f"POST /task/{TASK_ID}/send_callback", ABSENT),
    ("list tasks", lambda a: a.tasks.page(TaskFilter()), {"docs": []}, "GET /tasks?limit=100", ABSENT),
    (
        "list tasks by everything",
        lambda a: a.tasks.page(
            TaskFilter(
                project="a b/c",
                batch="ä&b",
                type="imageannotation",
                status="completed",
                customer_review_status=["accepted", "fixed"],
                unique_id=["u1", "u,2"],
                tags=["t1", "t2"],
                start_time="2024-01-01",
                end_time="2024-02-01T00:00:00Z",
                completed_after="2024-01-01T00:00:00+01:00",
                include_attachment_url=True,
                limited_response=False,
            ),
            "to=ken",
            limit=7,
        ),
        {"docs": []},
        "GET /tasks?project=a+b%2Fc&batch=%C3%A4%26b&type=imageannotation&status=completed"
        "&customer_review_status=accepted%2Cfixed&unique_id=u1&unique_id=u%2C2&tags=t1&tags=t2&start_time=2024-01-01"
        "&end_time=2024-02-01T00%3A00%3A00Z&completed_after=2024-01-01T00%3A00%3A00%2B01%3A00"
        "&include_attachment_url=true&limited_response=false&limit=7&next_token=to%3Dken",
        ABSENT,
    ),
    (
        "count tasks",
        lambda a: a.tasks.count(TaskFilter(project="p")),
        {"docs": [], "total": 5},
        "GET /tasks?project=p&limit=1",
        ABSENT,
    ),
    (
        "create batch",
        lambda a: a.batches.create("p", "b"),
        BATCH,
        "POST /batches",
        {"project": "p", "name": "b"},
    ),
    (
        "create batch with all",
        lambda a: a.batches.create(
            "p", "b", callback="https://x.y", calibration_batch=False, self_label_batch=True, metadata={}
        ),
        BATCH,
        "POST /batches",
        {
            "project": "p",
            "name": "b",
            "callback": "https://x.y",
            "calibration_batch": False,
            "self_label_batch": True,
            "metadata": {},
        },
    ),
    ("get batch", lambda a: a.batches.get("a/b c?"), BATCH, "GET /batches/a%2Fb%20c%3F", ABSENT),
    ("batch status", lambda a: a.batches.status("b"), {"status": "staging"}, "GET /batches/b/status", ABSENT),
    ("finalize", lambda a: a.batches.finalize("b#1"), BATCH, "POST /batches/b%231/finalize", ABSENT),
    ("prioritize", lambda a: a.batches.prioritize("b", 30), {}, "POST /batches/b/prioritize", {"priority": 30}),
    ("batch metadata", lambda a: a.batches.set_metadata("b", {"a": 1}), BATCH, "POST /batches/b/setMetadata", {"a": 1}),
    (
        "list batches",
        lambda a: a.batches.page(
            BatchFilter(project="p", status="staging", exclude_archived=False, detailed=True), 20, 10
        ),
        {"docs": []},
        "GET /batches?project=p&status=staging&exclude_archived=false&detailed=true&limit=10&offset=20",
        ABSENT,
    ),
    (
        "create project",
        lambda a: a.projects.create("p", "imageannotation"),
        PROJECT,
        "POST /projects",
        {"name": "p", "type": "imageannotation"},
    ),
    (
        "create project with all",
        lambda a: a.projects.create(
            "p",
            "textcollection",
            params={"instruction": "x"},
            rapid=False,
            studio=True,
            pipeline="consensus_task",
            consensus_attempts=3,
            datasetId="d",
        ),
        PROJECT,
        "POST /projects",
        {
            "name": "p",
            "type": "textcollection",
            "params": {"instruction": "x"},
            "rapid": False,
            "studio": True,
            "pipeline": "consensus_task",
            "consensus_attempts": 3,
            "datasetId": "d",
        },
    ),
    ("get project", lambda a: a.projects.get("a/b"), PROJECT, "GET /projects/a%2Fb", ABSENT),
    ("list projects", lambda a: a.projects.list(), [PROJECT], "GET /projects", ABSENT),
    ("list archived projects", lambda a: a.projects.list(archived=False), [], "GET /projects?archived=false", ABSENT),
    (
        "project params",
        lambda a: a.projects.set_params("p", {"instruction": "x"}, patch=False),
        PROJECT,
        "POST /projects/p/setParams",
        {"instruction": "x", "patch": False},
    ),
    (
        "project ontology",
        lambda a: a.projects.set_ontology("p", ["car", {"choice": "bike"}], "v2"),
        PROJECT,
        "POST /projects/p/setOntology",
        {"ontology": ["car", {"choice": "bike"}], "name": "v2"},
    ),
    ("template", lambda a: a.projects.template("p"), {"id": "1"}, "GET /projects/p/taskTemplates", ABSENT),
    (
        "import file",
        lambda a: a.files.import_url("https://x.y/z.png", project_name="p", metadata={"a": 1}),
        {"id": "1"},
        "POST /files/import",
        {"file_url": "https://x.y/z.png", "project_name": "p", "metadata": {"a": 1}},
    ),
    ("list files", lambda a: a.files.page("p"), {"docs": []}, "GET /files?project=p", ABSENT),
    (
        "list files by metadata",
        lambda a: a.files.page("p", {"cam": "3"}, "next"),
        {"docs": []},
        "GET /files?project=p&metadata=%7B%22cam%22%3A+%223%22%7D&cursor=next",
        ABSENT,
    ),
    ("team", lambda a: a.team.list(), [{"email": "a@b.c"}], "GET /teams", ABSENT),
    (
        "invite",
        lambda a: a.team.invite(["a@b.c"], "labeler"),
        [],
        "POST /teams/invite",
        {"emails": ["a@b.c"], "team_role": "labeler"},
    ),
    (
        "role",
        lambda a: a.team.set_role(["a@b.c"], "manager"),
        [],
        "POST /teams/set_role",
        {"emails": ["a@b.c"], "team_role": "manager"},
    ),
    ("assignments", lambda a: a.studio.assignments(), {"a@b.c": ["p"]}, "GET /studio/assignments", ABSENT),
    (
        "assign",
        lambda a: a.studio.add_assignments(["a@b.c"], ["p", "q"]),
        {"a@b.c": ["p", "q"]},
        "POST /studio/assignments/add",
        {"emails": ["a@b.c"], "projects": ["p", "q"]},
    ),
    (
        "unassign",
        lambda a: a.studio.remove_assignments(["a@b.c"], ["p"]),
        {},
        "POST /studio/assignments/remove",
        {"emails": ["a@b.c"], "projects": ["p"]},
    ),
    ("studio batches", lambda a: a.studio.batches(), [STUDIO_BATCH], "GET /studio/batches", ABSENT),
    (
        "order batches",
        lambda a: a.studio.set_priorities(["b2", "b1"]),
        [],
        "POST /studio/batches/set_priorities",
        {"batches": [{"name": "b2"}, {"name": "b1"}]},
    ),
    ("reset order", lambda a: a.studio.reset_priorities(), [], "POST /studio/batches/reset_priorities", ABSENT),
    ("groups", lambda a: a.studio.groups("a/b"), [GROUP], "GET /studio/projects/a%2Fb/groups", ABSENT),
    (
        "create group",
        lambda a: a.studio.create_group("p", "g", ["a@b.c"]),
        GROUP,
        "POST /studio/projects/p/groups",
        {"name": "g", "emails": ["a@b.c"]},
    ),
    (
        "change group",
        lambda a: a.studio.update_group("p", "g/h", add_emails=["a@b.c"]),
        GROUP,
        "PUT /studio/projects/p/groups/g%2Fh",
        {"add_emails": ["a@b.c"], "remove_emails": []},
    ),
    (
        "groups of a batch",
        lambda a: a.studio.assign_groups("b", ["g"]),
        STUDIO_BATCH,
        "PUT /studio/batches/b",
        {"groups": ["g"]},
    ),
    (
        "audits",
        lambda a: a.quality.fixless_audits(task_id=TASK_ID, id="1"),
        [],
        f"GET /audits?task_id={TASK_ID}&id=1",
        ABSENT,
    ),
    (
        "attempts",
        lambda a: a.quality.training_attempts(["q1", "q2"], ["a@b.c"], limit=5),
        {"docs": []},
        "GET /quality/labelers?quality_task_ids=q1&quality_task_ids=q2&labeler_emails=a%40b.c&limit=5",
        ABSENT,
    ),
    (
        "give feedback",
        lambda a: a.quality.create_fixless_audit({"task_id": TASK_ID}),
        {"id": "1"},
        "PUT /audits",
        {"task_id": TASK_ID},
    ),
]


@pytest.mark.parametrize(
    ("call", "answer", "line", "body"), [row[1:] for row in OPERATIONS], ids=[row[0] for row in OPERATIONS]
)
async def test_the_operation_goes_out_as_scale_wants_it(call: Do, answer: Any, line: str, body: Any):
    api, script = scale(ok(answer))
    await call(api)

    method, path = line.split(" ", 1)
    assert script.lines == [f"{method} /v1{path}"]
    assert script.body() == body
    assert (script.requests[0].content == b"") is (body is ABSENT)


async def test_the_base_address_may_have_any_path():
    api, script = scale(ok(TASK), base_url="https://gateway.example.com/scale/v1/")
    await api.tasks.get("a/b")

    assert str(script.requests[0].url) == "https://gateway.example.com/scale/v1/task/a%2Fb"


HOSTILE = "../../teams/invite?x=1#y"
BY_NAME: list[Do] = [
    lambda a: a.tasks.get(HOSTILE),
    lambda a: a.tasks.cancel(HOSTILE),
    lambda a: a.tasks.add_tags(HOSTILE, ["a"]),
    lambda a: a.tasks.set_unique_id(HOSTILE, "u"),
    lambda a: a.batches.get(HOSTILE),
    lambda a: a.batches.finalize(HOSTILE),
    lambda a: a.projects.get(HOSTILE),
    lambda a: a.projects.set_params(HOSTILE, {}, patch=True),
    lambda a: a.studio.groups(HOSTILE),
    lambda a: a.studio.update_group("p", HOSTILE),
    lambda a: a.studio.assign_groups(HOSTILE, []),
]


@pytest.mark.parametrize("call", BY_NAME)
async def test_a_hostile_name_stays_one_segment(call: Do):
    api, script = scale(ok({**TASK, **PROJECT}))
    try:
        await call(api)
    except Exception as error:  # the answer does not fit every operation; only the path counts here
        assert "cannot be read" in str(error)  # noqa: PT017

    path = script.requests[0].url.raw_path.decode()
    assert "..%2F..%2Fteams%2Finvite%3Fx%3D1%23y" in path
    assert "?" not in path
