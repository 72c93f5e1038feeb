"""Batches, projects, upkeep of tasks: what happens when answers are lost, and how differing spellings are read."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from scale_mcp.api import Conflict, InvalidRequest, NotFound, OutcomeUnknown, ServerError, UnexpectedAnswer

from .scripted import TASK, TASK_ID, no, ok, scale

pytestmark = pytest.mark.anyio

BATCH = {"name": "b", "project": "p", "status": "in_progress", "metadata": {"week": 3}, "callback": ""}
PROJECT = {"name": "p", "type": "imageannotation", "param_history": [{"instruction": "x", "version": 0, "padding": 0}]}
LOST = httpx2.ReadError("reset")


async def test_a_batch_whose_creation_was_answered_with_500_is_found_by_its_name():
    api, script = scale([no(500), no(409), ok(BATCH)])
    batch = await api.batches.create("p", "b", metadata={"week": 3})

    assert batch.name == "b"
    assert script.lines == ["POST /v1/batches", "POST /v1/batches", "GET /v1/batches/b"]


@pytest.mark.parametrize("given", [{"project": "q"}, {"metadata": {"week": 4}}])
async def test_a_batch_of_other_content_is_a_conflict(given: dict[str, Any]):
    api, _ = scale([LOST, no(409), ok(BATCH)])
    arguments = {"project": "p", "name": "b", **given}
    with pytest.raises(Conflict, match=f"{next(iter(given))} differs"):
        await api.batches.create(**arguments)


async def test_a_name_that_is_taken_at_the_first_attempt_is_a_conflict():
    api, script = scale(no(409, "Name taken."))
    with pytest.raises(Conflict, match="Name taken"):
        await api.batches.create("p", "b")
    with pytest.raises(Conflict, match="Name taken"):
        await api.projects.create("p", "imageannotation")

    assert len(script.requests) == 2


async def test_a_batch_that_was_not_made_says_so():
    api, _ = scale([*[no(500)] * 4, no(404)])
    with pytest.raises(ServerError, match='No batch named "b" was made'):
        await api.batches.create("p", "b")


async def test_a_batch_of_unknown_fate_says_how_to_find_out():
    api, _ = scale(LOST)
    with pytest.raises(OutcomeUnknown, match="get the batch; creating it again"):
        await api.batches.create("p", "b")


async def test_a_project_whose_creation_was_not_answered_is_found_by_its_name():
    api, _ = scale([LOST, no(409), ok(PROJECT)])

    assert (await api.projects.create("p", "imageannotation", params={"instruction": "x"})).version == 0


@pytest.mark.parametrize(
    ("task_type", "params", "named"),
    [("segmentannotation", None, "type"), ("imageannotation", {"instruction": "y"}, "instruction")],
)
async def test_a_project_of_other_content_is_a_conflict(task_type: str, params: dict[str, Any] | None, named: str):
    api, _ = scale([no(500), no(409), ok(PROJECT)])
    with pytest.raises(Conflict, match=f"{named} differs"):
        await api.projects.create("p", task_type, params=params)


async def test_a_project_that_was_not_made_says_so():
    api, _ = scale([*[no(500)] * 4, no(404)])
    with pytest.raises(ServerError, match='No project named "p" was made'):
        await api.projects.create("p", "imageannotation")


# finalizing


async def test_a_batch_that_our_lost_attempt_finalized_is_no_failure():
    api, script = scale([LOST, no(400, "Batch is already finalized."), ok(BATCH)])

    assert (await api.batches.finalize("b")).status == "in_progress"
    assert script.lines[-1] == "GET /v1/batches/b"


async def test_a_batch_that_was_finalized_before_is_a_failure():
    api, script = scale(no(400, "Batch is already finalized."))
    with pytest.raises(InvalidRequest, match="already finalized"):
        await api.batches.finalize("b")

    assert len(script.requests) == 1


async def test_a_batch_still_in_staging_was_not_finalized():
    api, _ = scale([*[LOST] * 4, ok({**BATCH, "status": "staging"})])
    with pytest.raises(Exception, match="not finalized yet"):
        await api.batches.finalize("b")


async def test_a_refusal_to_finalize_after_a_doubt_is_told_when_the_batch_is_still_in_staging():
    api, _ = scale([LOST, no(400, "The batch is empty."), ok({**BATCH, "status": "staging"})])
    with pytest.raises(InvalidRequest, match="The batch is empty"):
        await api.batches.finalize("b")


async def test_finalizing_with_an_unknown_outcome_says_how_to_find_out():
    api, _ = scale(LOST)
    with pytest.raises(OutcomeUnknown, match="in staging it is not finalized"):
        await api.batches.finalize("b")


# upkeep of tasks


async def test_a_task_that_our_lost_attempt_cancelled_is_no_failure():
    api, _ = scale([LOST, no(400, "Task is not pending."), ok({**TASK, "status": "canceled"})])

    assert (await api.tasks.cancel(TASK_ID)).status == "canceled"


async def test_a_task_that_completed_meanwhile_cannot_be_cancelled():
    api, _ = scale([LOST, no(400, "Task is completed."), ok({**TASK, "status": "completed"})])
    with pytest.raises(InvalidRequest, match="is completed"):
        await api.tasks.cancel(TASK_ID)


async def test_a_completed_task_cannot_be_cancelled():
    api, script = scale(no(400, "Task is completed."))
    with pytest.raises(InvalidRequest):
        await api.tasks.cancel(TASK_ID)

    assert len(script.requests) == 1


async def test_a_unique_id_that_our_lost_attempt_set_is_no_conflict():
    api, _ = scale([no(500), no(409), ok({**TASK, "unique_id": "u"})])

    assert (await api.tasks.set_unique_id(TASK_ID, "u")).unique_id == "u"


async def test_a_unique_id_of_another_task_is_a_conflict():
    api, _ = scale(no(409))
    with pytest.raises(Conflict):
        await api.tasks.set_unique_id(TASK_ID, "u")

    api, _ = scale([no(500), no(409), ok(TASK)])
    with pytest.raises(Conflict):
        await api.tasks.set_unique_id(TASK_ID, "u")


# both spellings


async def test_the_other_spelling_of_send_callback_is_tried_when_the_path_is_unknown():
    api, script = scale([no(404, "Not found."), ok({"success": True})])

    assert await api.tasks.send_callback(TASK_ID) == {"success": True}
    assert script.lines == [f"POST /v1/task/{TASK_ID}/send_callback", f"POST /v1/task/{TASK_ID}/send-callback"]


async def test_an_unknown_task_is_not_asked_for_in_another_spelling():
    api, script = scale(no(404, "Task with that ID not found."))
    with pytest.raises(NotFound):
        await api.tasks.send_callback(TASK_ID)

    assert len(script.requests) == 1


async def test_when_neither_spelling_is_known_that_is_an_error():
    api, script = scale(no(404, "Not found."))
    with pytest.raises(NotFound):
        await api.tasks.send_callback(TASK_ID)

    assert len(script.requests) == 2


@pytest.mark.parametrize("answer", [httpx2.Response(200, content=b"OK"), ok({}), ok({"success": True})])
async def test_an_ontology_answered_without_a_project_is_read_back(answer: httpx2.Response):
    api, script = scale([answer, ok(PROJECT)])

    assert (await api.projects.set_ontology("p", ["car"])).name == "p"
    assert script.lines[-1] == "GET /v1/projects/p"
    assert script.body(0) == {"ontology": ["car"]}


@pytest.mark.parametrize(
    "answer", [[{"id": "1"}], {"docs": [{"id": "1"}]}, {"audits": [{"id": "1"}]}, {"id": "1", "audit_result": "x"}]
)
async def test_fixless_audits_are_read_in_any_wrapping(answer: Any):
    api, _ = scale(ok(answer))

    assert [audit.id for audit in await api.quality.fixless_audits(task_id=TASK_ID)] == ["1"]


@pytest.mark.parametrize("answer", [[{"id": "1", "score": 0.5}], {"docs": [{"id": "1", "score": 0.5}], "cursor": "c"}])
async def test_training_attempts_are_read_in_any_wrapping(answer: Any):
    api, _ = scale(ok(answer))
    page = await api.quality.training_attempts(quality_task_ids=["q"])

    assert [attempt.score for attempt in page.docs] == [0.5]
    assert page.next_token == ("c" if isinstance(answer, dict) else None)


@pytest.mark.parametrize("answer", ["x", {"nothing": 1}, 5])
async def test_a_list_that_is_none_is_named_as_such(answer: Any):
    api, _ = scale(ok(answer))
    with pytest.raises(UnexpectedAnswer, match="a list was expected"):
        await api.team.list()


async def test_audits_that_are_none_are_named_as_such():
    api, _ = scale(ok("none"))
    with pytest.raises(UnexpectedAnswer, match="a list was expected"):
        await api.quality.fixless_audits(id="1")


async def test_assignments_that_are_none_are_named_as_such():
    api, _ = scale(ok([1]))
    with pytest.raises(UnexpectedAnswer, match="a map to lists"):
        await api.studio.assignments()


async def test_a_list_in_an_envelope_is_read_too():
    api, _ = scale(ok({"docs": [PROJECT]}))

    assert [project.name for project in await api.projects.list()] == ["p"]


async def test_a_count_without_a_total_counts_what_came():
    from scale_mcp.models.tasks import TaskFilter

    api, _ = scale(ok({"docs": [TASK]}))

    assert await api.tasks.count(TaskFilter()) == 1
