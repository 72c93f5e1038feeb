"""A task is created exactly once, whatever happens to the answers."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import anyio
import httpx2
import pytest

from scale_mcp.api import (
    Conflict,
    ConnectionFailed,
    InvalidRequest,
    NotEnabled,
    OutcomeUnknown,
    RateLimited,
    ScaleApi,
    ScaleError,
    ServerError,
)

from .scripted import TASK_ID, TaskRequest, no, ok, scale

pytestmark = pytest.mark.anyio

TAKEN = no(409, f'The unique_id ("u-1") is already used for a different task ({TASK_ID}).')
BODY = {"attachment": "https://example.com/a.png", "geometries": {"box": {"objects_to_annotate": ["car"]}}}


def stored(**more: Any) -> dict[str, Any]:
    """The task that BODY makes, with what Scale fills in."""
    params = {
        **BODY,
        "attachment_type": "image",
        "geometries": {"box": {"objects_to_annotate": ["car"], "min_width": 0}},
    }
    return {"task_id": TASK_ID, "type": "imageannotation", "unique_id": "u-1", "params": params, **more}


def found(**more: Any) -> httpx2.Response:
    return ok({"docs": [stored(**more)], "total": 1, "limit": 10, "offset": 0, "has_more": False})


NONE = ok({"docs": [], "total": 0, "limit": 10, "offset": 0, "has_more": False})


def request(unique_id: str | None = "u-1", **more: Any) -> TaskRequest:
    return TaskRequest({**BODY, **({"unique_id": unique_id} if unique_id else {}), **more})


async def test_a_task_without_a_unique_id_gets_one_of_ours():
    api, script = scale(lambda sent: ok({**stored(), "unique_id": json.loads(sent.content)["unique_id"]}))
    first = await api.tasks.create(request(None))
    second = await api.tasks.create(request(None))

    assert first.unique_id_assigned
    assert not first.recovered
    assert script.body(0)["unique_id"].startswith("scale-mcp-")
    assert script.body(0)["unique_id"] != script.body(1)["unique_id"]
    assert second.task.unique_id == script.body(1)["unique_id"]
    assert script.lines[0] == "POST /v1/task/imageannotation"


async def test_the_callers_unique_id_is_kept():
    api, script = scale(ok(stored()))
    created = await api.tasks.create(request("u-1"))

    assert not created.unique_id_assigned
    assert script.body() == {**BODY, "unique_id": "u-1"}


async def test_every_attempt_carries_the_same_unique_id():
    api, script = scale([no(500), httpx2.ReadError("reset"), no(429), ok(stored())])
    await api.tasks.create(request(None))

    assert len({script.body(index)["unique_id"] for index in range(4)}) == 1
    assert len(script.requests) == 4


async def test_a_create_that_succeeded_but_answered_500_is_recovered():
    api, script = scale([no(500), TAKEN, found()])
    created = await api.tasks.create(request())

    assert created.recovered
    assert created.task.task_id == TASK_ID
    assert script.lines == ["POST /v1/task/imageannotation"] * 2 + ["GET /v1/tasks?unique_id=u-1&limit=10"]


@pytest.mark.parametrize(
    "trouble",
    [
        httpx2.ReadTimeout("slow"),
        httpx2.RemoteProtocolError("gone"),
        httpx2.ReadError("reset"),
        no(502),
        no(504),
        no(408),
    ],
)
async def test_a_create_whose_answer_was_lost_is_recovered(trouble: httpx2.Response | Exception):
    api, _ = scale([trouble, TAKEN, found()])

    assert (await api.tasks.create(request())).recovered


@pytest.mark.parametrize("content", [b'{"task_id": "65f0', b"", b"OK", b"<html>"])
async def test_a_create_with_a_broken_answer_is_recovered_or_repeated_and_never_doubled(content: bytes):
    api, script = scale([httpx2.Response(200, content=content), TAKEN, found()])
    created = await api.tasks.create(request())

    assert created.recovered
    assert {script.body(index)["unique_id"] for index in (0, 1)} == {"u-1"}


@pytest.mark.parametrize("answer", [{}, [], {"id": 1}, "OK"])
async def test_a_create_whose_answer_is_no_task_is_looked_up(answer: Any):
    api, script = scale([ok(answer), found()])

    assert (await api.tasks.create(request())).recovered
    assert len(script.requests) == 2


async def test_a_create_whose_every_attempt_fails_is_looked_up():
    api, script = scale([*[no(500)] * 4, found()])
    created = await api.tasks.create(request())

    assert created.recovered
    assert script.lines[-1].startswith("GET /v1/tasks?unique_id=u-1")


async def test_a_conflict_on_the_first_attempt_is_real_and_names_the_task():
    api, script = scale(TAKEN)
    with pytest.raises(Conflict, match=f"Use task {TASK_ID}") as caught:
        await api.tasks.create(request())

    assert caught.value.existing_task_id == TASK_ID
    assert not caught.value.in_doubt
    assert len(script.requests) == 1


async def test_a_conflict_that_names_no_task_is_looked_up_for_the_name():
    api, _ = scale([no(409, "Duplicate unique_id."), found()])
    with pytest.raises(Conflict, match=f"belongs to task \\({TASK_ID}\\)") as caught:
        await api.tasks.create(request())

    assert caught.value.existing_task_id == TASK_ID


async def test_a_conflict_stays_one_when_the_task_cannot_be_looked_up():
    api, _ = scale([no(409, "Duplicate unique_id."), no(500)])
    with pytest.raises(Conflict) as caught:
        await api.tasks.create(request())

    assert caught.value.existing_task_id is None


async def test_a_conflict_after_429s_only_is_real():
    api, _ = scale([no(429), httpx2.ConnectError("refused"), TAKEN])
    with pytest.raises(Conflict) as caught:
        await api.tasks.create(request())

    assert not caught.value.in_doubt


@pytest.mark.parametrize(
    ("difference", "named"),
    [
        ({"type": "segmentannotation"}, "type"),
        ({"params": {**BODY, "attachment": "https://example.com/b.png"}}, "attachment"),
        ({"params": {**BODY, "geometries": {"box": {"objects_to_annotate": ["truck"]}}}}, "geometries"),
        ({"params": {**BODY, "geometries": {"box": {"objects_to_annotate": ["car", "truck"]}}}}, "geometries"),
        ({"params": {"attachment": BODY["attachment"]}}, "geometries"),
        ({"project": "yard"}, "project"),
        ({"batch": "other"}, "batch"),
        ({"instruction": "Draw circles."}, "instruction"),
    ],
)
async def test_a_task_of_other_content_under_the_same_unique_id_is_a_conflict_that_says_so(
    difference: dict[str, Any], named: str
):
    same = {"project": "street", "batch": "b-1", "instruction": "Draw boxes."}
    api, _ = scale([no(500), TAKEN, found(**{**same, **difference})])
    with pytest.raises(Conflict, match=f"{named} differs") as caught:
        await api.tasks.create(request(**same))

    assert not caught.value.in_doubt


async def test_what_scale_fills_in_appends_or_writes_otherwise_is_no_difference():
    task = {
        "project": "street",
        "batch": "b-1",
        "instruction": "Draw  boxes.\n\nText of the project.",
        "metadata": {"changed": "since"},
        "tags": ["more"],
        "params": {**BODY, "padding": "5", "scale": 2.0, "attachment_type": "image"},
    }
    sent = {"batch": "b-1", "instruction": "Draw boxes.", "metadata": {"a": 1}, "tags": ["x"], "priority": 30}
    sent |= {
        "padding": 5,
        "scale": 2,
        "links": {},
        "hypothesis": None,
        "callback_url": "https://x.y",
        "project_version": 2,
    }
    api, _ = scale([no(500), TAKEN, found(**task)])

    assert (await api.tasks.create(request(**sent))).recovered


async def test_a_list_that_ignores_the_filter_does_not_deceive_us():
    api, _ = scale([*[httpx2.ReadError("reset")] * 4, found(unique_id="u-2")])
    with pytest.raises(OutcomeUnknown):
        await api.tasks.create(request())


async def test_a_conflict_that_the_list_does_not_show_yet_is_settled_by_the_task_it_names():
    api, script = scale([no(500), TAKEN, NONE, ok(stored())])
    created = await api.tasks.create(request())

    assert created.recovered
    assert script.lines[-1] == f"GET /v1/task/{TASK_ID}"


async def test_a_conflict_that_nothing_shows_yet_is_looked_up_again():
    api, script = scale([no(500), no(409, "Taken."), NONE, found()])
    assert (await api.tasks.create(request())).recovered
    assert script.sleeps == [0.375, 0.5]


async def test_a_conflict_with_a_task_that_is_nowhere_to_be_found_is_of_unknown_outcome():
    def answer(sent: httpx2.Request) -> httpx2.Response:
        return TAKEN if sent.method == "POST" else NONE if sent.url.path == "/v1/tasks" else no(404)

    api, script = scale([no(500), answer])
    with pytest.raises(OutcomeUnknown, match="not to be found so far"):
        await api.tasks.create(request())

    assert script.lines.count(f"GET /v1/task/{TASK_ID}") == 3


async def test_a_look_up_is_not_repeated_past_the_callers_deadline():
    api, script = scale([*[httpx2.ReadError("reset")] * 4, NONE], backoff_base=20.0, backoff_cap=0.0)
    with anyio.fail_after(10), pytest.raises(OutcomeUnknown):
        await api.tasks.create(request())

    assert len(script.requests) == 5
    assert script.sleeps == [0.0] * 3


async def test_a_create_that_certainly_failed_says_so_and_may_be_repeated():
    api, _ = scale([*[no(500)] * 4, NONE])
    with pytest.raises(ServerError, match='No task with unique_id "u-1" was made') as caught:
        await api.tasks.create(request())

    assert not caught.value.in_doubt
    assert caught.value.retryable


@pytest.mark.parametrize("trouble", [httpx2.ReadTimeout("slow"), no(504), no(503)])
async def test_a_create_that_may_still_be_on_its_way_is_of_unknown_outcome(trouble: httpx2.Response | Exception):
    api, script = scale([*[trouble] * 4, NONE])
    with pytest.raises(OutcomeUnknown, match='list the tasks with unique_id "u-1"') as caught:
        await api.tasks.create(request())

    assert "repeat the request with that same unique_id" in str(caught.value)
    assert len(script.requests) == 4 + 3


async def test_one_doubtful_attempt_is_enough_for_an_unknown_outcome():
    api, _ = scale([httpx2.ReadTimeout("slow"), *[no(500)] * 3, NONE])
    with pytest.raises(OutcomeUnknown):
        await api.tasks.create(request())


async def test_when_the_look_up_fails_as_well_the_outcome_is_unknown_and_says_how_to_find_out():
    api, script = scale(httpx2.ReadError("reset"))
    with pytest.raises(OutcomeUnknown, match="looking it up failed as well") as caught:
        await api.tasks.create(request(None))

    assert script.body(0)["unique_id"] in str(caught.value)
    assert caught.value.retryable


async def test_a_look_up_that_fails_is_tried_again_before_the_outcome_counts_as_unknown():
    api, _ = scale([*[httpx2.ReadError("reset")] * 8, found()])

    assert (await api.tasks.create(request())).recovered


async def test_without_time_to_look_nothing_is_said_to_be_safe():
    def last(sent: httpx2.Request) -> httpx2.Response:
        scope.deadline = anyio.current_time()  # the caller's time is over with this answer
        return no(500)

    api, script = scale(last, attempts=1)
    failure: BaseException | None = None
    with anyio.CancelScope() as scope:
        try:
            await api.tasks.create(request())
        except OutcomeUnknown as error:
            failure = error

    assert "no time left to look it up" in str(failure)
    assert len(script.requests) == 1


async def test_a_doubtful_attempt_followed_by_a_refusal_is_looked_up():
    api, _ = scale([httpx2.ReadError("reset"), no(401), found()])
    assert (await api.tasks.create(request())).recovered


async def test_a_doubtful_attempt_followed_by_a_refusal_of_the_content_is_that_refusal_when_nothing_is_there():
    api, _ = scale([httpx2.ReadError("reset"), no(400, "Bad geometries."), NONE])
    with pytest.raises(InvalidRequest, match="Bad geometries") as caught:
        await api.tasks.create(request())

    assert not caught.value.in_doubt
    assert "again is safe" not in str(caught.value)


@pytest.mark.parametrize(("status", "kind"), [(400, InvalidRequest), (402, NotEnabled)])
async def test_a_refusal_is_a_refusal(status: int, kind: type[ScaleError]):
    api, script = scale(no(status))
    with pytest.raises(kind):
        await api.tasks.create(request())

    assert len(script.requests) == 1


async def test_an_odd_unique_id_is_quoted_harmlessly():
    api, script = scale([*[httpx2.ReadError("reset")] * 4, NONE])
    with pytest.raises(OutcomeUnknown) as caught:
        await api.tasks.create(request("a\u202e\x00\n" + "x" * 5000))

    assert len(str(caught.value)) <= 1200
    assert "\u202e" not in str(caught.value)
    assert script.body(0)["unique_id"].startswith("a\u202e\x00\n")


async def test_an_endless_429_is_no_doubt():
    api, script = scale(no(429))
    with pytest.raises(RateLimited) as caught:
        await api.tasks.create(request())

    assert not caught.value.in_doubt
    assert all(line.startswith("POST") for line in script.lines)


async def test_a_scale_that_is_not_there_is_no_doubt():
    api, script = scale(httpx2.ConnectError("refused"))
    with pytest.raises(ConnectionFailed) as caught:
        await api.tasks.create(request())

    assert not caught.value.in_doubt
    assert len(script.requests) == 4


@pytest.mark.parametrize("trouble", [no(500), httpx2.ReadError("reset"), httpx2.Response(200, content=b"{")])
async def test_a_create_without_a_unique_id_is_sent_once_only(trouble: httpx2.Response | Exception):
    api, script = scale(trouble)
    with pytest.raises(OutcomeUnknown, match="list the newest tasks"):
        await api.tasks.create(request(None), assign_unique_id=False)

    assert len(script.requests) == 1
    assert "unique_id" not in script.body()


async def test_a_create_without_a_unique_id_is_repeated_after_a_429():
    api, script = scale([no(429), httpx2.ConnectError("refused"), ok({**stored(), "unique_id": None})])
    created = await api.tasks.create(request(None), assign_unique_id=False)

    assert not created.unique_id_assigned
    assert len(script.requests) == 3


async def silent(_request: httpx2.Request) -> httpx2.Response:
    await anyio.sleep_forever()
    raise AssertionError


async def test_a_create_whose_time_is_over_is_still_looked_up():
    api, _ = scale([silent, found()])
    client = api._client
    client.deadline = lambda operation: anyio.current_time() + (0 if operation.method == "POST" else 60)  # type: ignore[method-assign]

    assert (await api.tasks.create(request())).recovered


async def test_when_the_time_is_over_for_the_look_up_too_the_outcome_is_unknown():
    api, _ = scale(silent, call_timeout=0.0)
    with pytest.raises(OutcomeUnknown, match='list the tasks with unique_id "u-1"'):
        await api.tasks.create(request())


@pytest.mark.parametrize("task_type", ["", "..", "a\nb"])
async def test_a_task_type_that_is_none_reaches_nobody(task_type: str):
    api, script = scale(ok(stored()))
    with pytest.raises(ScaleError):
        await api.tasks.create(TaskRequest(task_type=task_type))

    assert script.requests == []


async def test_an_evaluation_task_is_sent_once_only():
    class Evaluation:
        type = "imageannotation"

        def to_wire(self) -> dict[str, Any]:
            return {"expected_response": {}, "unique_id": "u-1"}

    api, script = scale([ok({"id": "q1", "expected_response": {}})])
    assert (await api.tasks.create_evaluation(Evaluation())).id == "q1"
    assert script.lines == ["POST /v1/evaluation_tasks/imageannotation"]

    api, script = scale(no(500))
    with pytest.raises(OutcomeUnknown):
        await api.tasks.create_evaluation(Evaluation())
    assert len(script.requests) == 1


class Storm:
    """A Scale that commits or not, and answers or not, by a seeded dice."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.tasks: dict[str, dict[str, Any]] = {}
        self.commits: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        roll = self.dice.random()
        if roll < 0.08:
            return self._fault("429", no(429))
        if roll < 0.13:
            return self._fault("500 before", no(500))
        if roll < 0.16:
            self._fault("dropped before")
            raise httpx2.ReadError("dropped before the request was read")
        answer = self._create(request) if request.method == "POST" else self._list(request)
        if roll < 0.24:
            return self._fault("500 after", no(self.dice.choice([500, 502, 504])))
        if roll < 0.32:
            self._fault("dropped after")
            raise httpx2.RemoteProtocolError("Server disconnected without sending a response.")
        if roll < 0.36:
            return self._fault("cut", httpx2.Response(200, content=answer.content[: len(answer.content) // 2]))
        return answer

    def _fault(self, name: str, answer: httpx2.Response | None = None) -> httpx2.Response:
        self.faults[name] += 1
        return answer or no(500)

    def _create(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        unique_id = body.pop("unique_id")
        if unique_id in self.tasks:
            return no(409, f'The unique_id ("{unique_id}") is already used for a different task ({TASK_ID}).')
        self.commits[unique_id] += 1
        self.tasks[unique_id] = {
            **stored(),
            "unique_id": unique_id,
            "params": body,
            "task_id": f"{len(self.tasks):024x}",
        }
        return ok(self.tasks[unique_id])

    def _list(self, request: httpx2.Request) -> httpx2.Response:
        task = self.tasks.get(request.url.params["unique_id"])
        return ok({"docs": [task] if task else [], "total": 1, "limit": 10, "offset": 0, "has_more": False})


async def test_of_ten_thousand_creates_in_a_storm_none_happens_twice_and_none_is_lost():
    storm = Storm(seed=7)
    _, script = scale(no(500))
    api = ScaleApi("live_storm", transport=httpx2.MockTransport(storm), options=_without_waiting(script))
    outcomes: Counter[str] = Counter()

    refused = 0

    async def create(numbers: range) -> None:
        nonlocal refused
        for number in numbers:
            for _ in range(50):
                try:
                    created = await api.tasks.create(request(f"u-{number}", attachment=f"https://example.com/{number}"))
                except (OutcomeUnknown, ServerError, RateLimited, ConnectionFailed) as error:
                    outcomes[type(error).__name__] += 1  # the caller does as it is told: once more, with the same id
                    refused += not error.retryable
                    continue
                except Conflict as error:  # an earlier call of this caller had succeeded after all
                    refused += error.existing_task_id is None
                    outcomes["found by the caller"] += 1
                    break
                assert created.task.unique_id == f"u-{number}"
                outcomes["recovered" if created.recovered else "created"] += 1
                break
            else:
                raise AssertionError("it was given up")

    async with api, anyio.create_task_group() as group:
        for worker in range(16):
            group.start_soon(create, range(worker, 10_000, 16))

    assert refused == 0
    assert len(storm.tasks) == 10_000
    assert set(storm.commits.values()) == {1}
    assert outcomes["created"] + outcomes["recovered"] + outcomes["found by the caller"] == 10_000
    assert outcomes["recovered"] > 1_000
    assert min(storm.faults.values()) > 100


async def test_of_a_thousand_creates_with_ids_of_ours_those_that_succeed_exist_once_and_the_rest_can_be_found():
    storm = Storm(seed=11)
    _, script = scale(no(500))
    api = ScaleApi("live_storm", transport=httpx2.MockTransport(storm), options=_without_waiting(script))
    made: list[str] = []
    in_doubt: list[str] = []

    async with api:
        for number in range(1_000):
            try:
                created = await api.tasks.create(request(None, attachment=f"https://example.com/{number}"))
            except ScaleError as error:
                in_doubt.append(str(error))
            else:
                assert created.task.params["attachment"] == f"https://example.com/{number}"
                made.append(created.task.task_id)

    assert len(set(made)) == len(made)
    assert set(storm.commits.values()) == {1}
    unaccounted = {task["unique_id"] for task in storm.tasks.values() if task["task_id"] not in set(made)}
    assert all(any(unique_id in text for text in in_doubt) for unique_id in unaccounted)


def _without_waiting(script: Any) -> Any:
    from scale_mcp.api import ApiOptions

    return ApiOptions(sleep=script.sleep)
