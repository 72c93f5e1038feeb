"""Reading what Scale sends: tolerant, in both spellings, and nothing gets lost."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from scale_mcp.models.batches import Batch, BatchFilter, BatchPage, BatchStatus
from scale_mcp.models.files import File, FilePage
from scale_mcp.models.projects import Project
from scale_mcp.models.quality import FixlessAudit, QualityTask, TrainingAttempts
from scale_mcp.models.studio import ProjectGroup, StudioBatch
from scale_mcp.models.tasks import Task, TaskFilter, TaskPage
from scale_mcp.models.team import Teammate

TASK: dict[str, Any] = {
    "task_id": "65f0c1d2e3a4b5c6d7e8f901",
    "created_at": "2024-03-12T10:15:30.123Z",
    "type": "imageannotation",
    "status": "pending",
    "instruction": "Draw.",
    "params": {"attachment": "x", "geometries": {"box": {"min_height": 10}}},
    "is_test": False,
    "urgency": "standard",
    "metadata": {"site": "north"},
    "audits": [{"audited_by": "a@b.c", "audit_time_secs": 3, "new": 1}],
    "otherVersion": {"a": [1]},
}


def test_a_task_goes_back_as_it_came_unknown_fields_included():
    assert Task.model_validate(TASK).to_wire() == TASK


def test_what_a_task_does_not_have_is_absent():
    task = Task.model_validate({"task_id": "1"})

    assert (task.unique_id, task.tags, task.response, task.params) == (None, [], None, {})
    assert task.to_wire() == {"task_id": "1"}


@pytest.mark.parametrize("name", ["callback_succeeded", "callback_completed"])
def test_a_callback_that_arrived_is_read_in_either_spelling(name: str):
    assert Task.model_validate({"task_id": "1", name: True}).callback_succeeded is True


def test_nulls_numbers_and_strings_where_others_were_expected_do_not_break_a_task():
    odd = {
        "task_id": 5,
        "tags": None,
        "params": None,
        "audits": None,
        "priority": "high",
        "metadata": "text",
        "status": None,
    }

    task = Task.model_validate(odd)

    assert (task.task_id, task.tags, task.params, task.metadata) == ("5", [], {}, "text")


@pytest.mark.parametrize("total", ["total", "totalDocs"])
def test_a_total_is_read_in_either_spelling(total: str):
    assert TaskPage.model_validate({"docs": [], total: 7}).total == 7
    assert BatchPage.model_validate({"docs": [], total: 7}).total == 7


def test_an_empty_envelope_is_an_empty_page():
    assert TaskPage.model_validate({}).docs == []
    assert BatchPage.model_validate({"docs": None}).has_more is False
    assert FilePage.model_validate({}).cursor is None
    assert TrainingAttempts.model_validate({}).docs == []


@pytest.mark.parametrize("prefix", ["", "tasks_"])
def test_batch_counts_are_read_in_either_spelling_and_absent_means_none(prefix: str):
    status = BatchStatus.model_validate({"status": "in_progress", f"{prefix}pending": 5, f"{prefix}completed": None})

    assert (status.pending, status.completed, status.error, status.canceled, status.total) == (5, 0, 0, 0, 5)
    assert Batch.model_validate({"name": "b", f"{prefix}pending": 5}).pending == 5


def test_batches_know_whether_there_is_more_in_either_spelling():
    assert BatchPage.model_validate({"docs": [], "has_more": True}).has_more
    assert BatchPage.model_validate({"docs": [], "hasNextPage": True}).has_more


def test_a_project_knows_its_parameters_in_force():
    history = [
        {"instruction": "a", "version": 0, "created_at": "2024-03-01T08:00:00.000Z"},
        {"instruction": "b", "geometries": {}, "version": 1, "created_at": "2024-03-05T08:00:00.000Z"},
    ]
    project = Project.model_validate({"name": "p", "param_history": history, "ontologyHistory": [{"a": 1}]})

    assert (project.version, project.params) == (1, {"instruction": "b", "geometries": {}})
    assert project.to_wire() == {"name": "p", "param_history": history, "ontologyHistory": [{"a": 1}]}
    assert Project.model_validate({"name": "p"}).version is None
    assert Project.model_validate({"name": "p"}).params == {}


@pytest.mark.parametrize("name", ["cursor", "next_token"])
def test_a_files_cursor_is_read_in_either_spelling(name: str):
    assert FilePage.model_validate({"docs": [{"id": "1"}], name: "c"}).cursor == "c"


def test_camel_case_goes_back_as_camel_case():
    person = {
        "email": "a@b.c",
        "firstName": "Ann",
        "lastName": "Lee",
        "isStudioLabeler": False,
        "disableRapidEmails": True,
    }
    batch = {"name": "b", "projectId": "1", "projectName": "p", "batchType": "Production", "studioPriority": 1.0}
    group = {"id": "1", "name": "g", "numWorkers": 1, "isSingleton": True, "workers": [{"id": "2", "email": "a@b.c"}]}

    assert Teammate.model_validate(person).to_wire() == person
    assert StudioBatch.model_validate(batch).to_wire() == batch
    assert ProjectGroup.model_validate(group).to_wire() == group
    assert Teammate.model_validate(person).first_name == "Ann"


def test_quality_objects_pass_through_what_is_not_known():
    assert QualityTask.model_validate({"id": "q", "expected_response": {"a": 1}, "x": 2}).to_wire()["x"] == 2
    assert FixlessAudit.model_validate({"audit_result": "rejected", "scope": {}}).result == "rejected"
    assert File.model_validate({"id": "1", "new": [1]}).to_wire() == {"id": "1", "new": [1]}


def test_a_filter_writes_the_wire_names_and_leaves_out_what_was_not_given():
    chosen = TaskFilter(
        project="p",
        tags=["a", "b"],
        customer_review_status=["accepted", "rejected"],
        start_time="2024-03-12 10:00:00.123456",
        limited_response=False,
    )

    assert chosen.to_query() == {
        "project": "p",
        "tags": ["a", "b"],
        "customer_review_status": "accepted,rejected",
        "start_time": "2024-03-12 10:00:00.123456",
        "limited_response": False,
    }
    assert TaskFilter().to_query() == {}
    assert BatchFilter(status="staging").to_query() == {"status": "staging"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"created_after": "2024-01-01"},
        {"status": "done"},
        {"start_time": "yesterday"},
        {"start_time": 5},
        {"tags": "a"},
        {"limited_response": "yes"},
        {"customer_review_status": ["great"]},
        {"project": 5},
    ],
)
def test_a_filter_takes_nothing_that_scale_would_not_understand(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        TaskFilter.model_validate(wrong)


@pytest.mark.parametrize(
    "time", ["2024-03-12", "2024-03-12T10:00:00Z", "2024-03-12T10:00:00.123Z", "2024-03-12T10:00:00-07:00"]
)
def test_times_are_iso_and_stay_as_they_were_written(time: str):
    assert TaskFilter(end_time=time).to_query() == {"end_time": time}
