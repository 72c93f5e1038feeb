"""The request path: what goes out, what is tried again, what is raised."""

from __future__ import annotations

import json

import anyio
import anyio.lowlevel
import httpx2
import pytest

from scale_mcp.api import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    NotEnabled,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RefusedBeforeSending,
    ScaleError,
    ServerError,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
)
from scale_mcp.api.operation import Operation
from scale_mcp.api.retry import Repeat
from scale_mcp.api.trace import recording

from .scripted import TASK, TASK_ID, TaskRequest, no, ok, scale

pytestmark = pytest.mark.anyio


async def hang(_request: httpx2.Request) -> httpx2.Response:
    await anyio.sleep_forever()
    raise AssertionError


LOST = [
    httpx2.ReadTimeout("slow"),
    httpx2.WriteTimeout("slow"),
    httpx2.ReadError("reset"),
    httpx2.WriteError("reset"),
    httpx2.RemoteProtocolError("Server disconnected"),
    httpx2.CloseError("closed"),
]
NOT_SENT = [
    httpx2.ConnectError("refused"),
    httpx2.ConnectTimeout("slow"),
    httpx2.PoolTimeout("busy"),
    httpx2.ProxyError("no tunnel"),
]


async def test_a_request_says_what_it_accepts_and_who_it_is():
    api, script = scale(ok(TASK), user_agent="demo/1")
    await api.tasks.set_metadata(TASK_ID, {"ä": 1})

    (request,) = script.requests
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "gzip, deflate"
    assert request.headers["user-agent"].startswith("scale-mcp")
    assert request.headers["user-agent"].endswith("demo/1")
    assert request.content == '{"ä":1}'.encode()
    assert "cookie" not in request.headers


async def test_a_request_without_a_body_has_none():
    api, script = scale(ok(TASK))
    await api.tasks.clear_unique_id(TASK_ID)

    assert script.requests[0].content == b""
    assert "content-type" not in script.requests[0].headers


async def test_cookies_are_not_kept():
    api, script = scale([ok(TASK, **{"set-cookie": "session=1; Path=/"}), ok(TASK)])
    await api.tasks.get(TASK_ID)
    await api.tasks.get(TASK_ID)

    assert "cookie" not in script.requests[1].headers


@pytest.mark.parametrize("trouble", [*LOST, *NOT_SENT, no(408), no(429), no(500), no(502), no(503), no(504)])
async def test_a_read_is_tried_again_after_a_passing_trouble(trouble: httpx2.Response | Exception):
    api, script = scale([trouble, trouble, ok(TASK)])

    assert (await api.tasks.get(TASK_ID)).task_id == TASK_ID
    assert len(script.requests) == 3
    assert script.sleeps == [0.375, 0.75]


async def test_a_broken_answer_to_a_read_is_asked_for_again():
    half = httpx2.Response(200, content=json.dumps(TASK)[:30].encode())
    api, script = scale([half, ok(TASK)])

    assert (await api.tasks.get(TASK_ID)).task_id == TASK_ID
    assert len(script.requests) == 2


async def test_a_corrupt_compressed_answer_is_asked_for_again():
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(b"no gzip"))

    api, script = scale([answer, ok(TASK)])

    assert (await api.tasks.get(TASK_ID)).task_id == TASK_ID
    assert len(script.requests) == 2


@pytest.mark.parametrize("call", ["set_metadata", "set_tags", "add_tags", "delete_tags", "clear_unique_id"])
async def test_a_write_that_may_happen_twice_is_repeated_too(call: str):
    api, script = scale([httpx2.ReadError("reset"), no(500), ok(TASK)])
    arguments = {"set_metadata": ({"a": 1},), "clear_unique_id": ()}.get(call, (["a"],))

    await getattr(api.tasks, call)(TASK_ID, *arguments)

    assert len(script.requests) == 3
    assert len({(request.method, request.content) for request in script.requests}) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (402, NotEnabled),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, TooLarge),
        (418, InvalidRequest),
        (422, InvalidRequest),
    ],
)
async def test_a_refusal_is_raised_at_once_with_scales_words(status: int, kind: type[ScaleError]):
    api, script = scale(no(status, "The reason.", x_request_id="req-7"))
    with pytest.raises(kind) as caught:
        await api.tasks.get(TASK_ID)

    error = caught.value
    assert type(error) is kind
    assert (error.status, error.scale_message, error.request_id) == (status, "The reason.", "req-7")
    assert not error.retryable
    assert not error.in_doubt
    assert str(error) == f'Scale answered {status}: "The reason." {error.next_step}'
    assert error.next_step
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimited), (500, ServerError), (503, ServerError), (408, ServerError)]
)
async def test_a_trouble_that_does_not_pass_is_raised_after_the_last_attempt(status: int, kind: type[ScaleError]):
    api, script = scale(no(status), attempts=3, rate_limited_attempts=3)
    with pytest.raises(kind, match="Tried 3 times") as caught:
        await api.tasks.get(TASK_ID)

    assert caught.value.retryable
    assert not caught.value.in_doubt  # it was a read
    assert len(script.requests) == 3


async def test_a_429_did_nothing_so_it_is_waited_out_longer_than_a_failure():
    api, script = scale([*[no(429)] * 9, ok(TASK)])

    assert (await api.tasks.get(TASK_ID)).task_id == TASK_ID
    assert len(script.requests) == 10
    assert sum(script.sleeps) < 60


async def test_429s_in_between_do_not_use_up_the_attempts_for_failures():
    api, script = scale([no(500), no(429), no(500), no(429), no(429), no(500), ok(TASK)])

    assert (await api.tasks.get(TASK_ID)).task_id == TASK_ID
    assert len(script.requests) == 7


async def test_the_servers_wait_is_slept():
    api, script = scale([no(429, retry_after="2"), no(503, retry_after="3"), ok(TASK)])
    await api.tasks.get(TASK_ID)

    assert script.sleeps == [2.25, 3.25]


async def test_a_long_wait_is_handed_to_the_caller():
    api, script = scale(no(429, retry_after="3600"))
    with pytest.raises(RateLimited, match="Wait 3600 s") as caught:
        await api.tasks.get(TASK_ID)

    assert caught.value.retry_after == 3600
    assert script.sleeps == []


async def test_nothing_is_slept_past_the_deadline_of_the_caller():
    api, script = scale(no(429, retry_after="30"))
    with anyio.fail_after(10), pytest.raises(RateLimited) as caught:
        await api.tasks.get(TASK_ID)

    assert caught.value.retry_after == 30
    assert script.sleeps == []
    assert len(script.requests) == 1


async def test_when_the_time_is_over_a_read_says_so():
    api, _ = scale(hang, call_timeout=0.0)
    with pytest.raises(DeadlineExceeded) as caught:
        await api.tasks.get(TASK_ID)

    assert not caught.value.in_doubt


@pytest.mark.parametrize(
    ("left", "method", "repeat", "spared"),
    [
        (100.0, "GET", Repeat.FREELY, 0.25),
        (1.0, "GET", Repeat.FREELY, 0.1),
        (100.0, "POST", Repeat.ONCE, 0.25),
        (100.0, "POST", Repeat.RECOVER, 5.0),
        (4.0, "POST", Repeat.RECOVER, 1.2),
    ],
)
async def test_attempts_end_so_early_that_our_error_and_a_look_up_fit_before_the_callers_deadline(
    left: float, method: str, repeat: Repeat, spared: float
):
    api, _ = scale(ok(TASK))
    with anyio.fail_after(left) as scope:  # noqa: ASYNC100  # only its deadline counts
        deadline = api._client.deadline(Operation(method, "/teams", repeat=repeat))

    assert scope.deadline - deadline == pytest.approx(spared, abs=0.05)


async def test_without_a_deadline_of_the_caller_a_call_has_its_own():
    api, _ = scale(ok(TASK), call_timeout=7.0)

    assert api._client.deadline(Operation("GET", "/teams")) - anyio.current_time() == pytest.approx(7.0, abs=1)


async def test_a_cancelled_caller_is_left_alone():
    api, script = scale(hang)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(api.tasks.get, TASK_ID)
            while not script.requests:
                await anyio.lowlevel.checkpoint()
            scope.cancel()

    assert scope.cancelled_caught
    assert len(script.requests) == 1


async def test_a_caller_that_gives_up_in_the_moment_the_time_is_over_is_left_alone_too():
    async def give_up(_: httpx2.Request) -> httpx2.Response:
        scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError

    api, script = scale(give_up, call_timeout=0.0)
    with anyio.CancelScope() as scope:
        await api.tasks.create(TaskRequest())

    assert scope.cancelled_caught
    assert len(script.requests) == 1


async def test_waiting_for_a_turn_ends_with_the_time_and_leaves_no_doubt():
    api, script = scale(ok({}), max_in_flight=1, call_timeout=0.0)
    async with api._client.limiter.slot():
        with pytest.raises(DeadlineExceeded) as caught:
            await api.team.invite(["ann@example.com"], "member")

    assert not caught.value.in_doubt
    assert script.requests == []


ONCE = {
    "send_callback": lambda api: api.tasks.send_callback(TASK_ID),
    "audit": lambda api: api.tasks.audit(TASK_ID, accepted=True),
    "invite": lambda api: api.team.invite(["ann@example.com"], "member"),
    "set_params": lambda api: api.projects.set_params("p", {"instruction": "x"}, patch=True),
    "set_ontology": lambda api: api.projects.set_ontology("p", ["car"]),
    "create_group": lambda api: api.studio.create_group("p", "g", ["ann@example.com"]),
    "create_fixless_audit": lambda api: api.quality.create_fixless_audit({"task_id": TASK_ID}),
    "upload": lambda api: api.files.upload(b"x", file_name="x.png"),
    "import": lambda api: api.files.import_url("https://example.com/x.png"),
}


@pytest.mark.parametrize("call", ONCE)
@pytest.mark.parametrize(
    "trouble", [LOST[0], LOST[4], no(500), no(502), no(408), httpx2.Response(200, content=b'{"half')]
)
async def test_what_must_not_happen_twice_is_not_repeated_in_doubt(call: str, trouble: httpx2.Response | Exception):
    api, script = scale(trouble)
    with pytest.raises(OutcomeUnknown, match="To find out, ") as caught:
        await ONCE[call](api)

    assert caught.value.in_doubt
    assert len(script.requests) == 1
    assert script.sleeps == []


@pytest.mark.parametrize("call", ONCE)
@pytest.mark.parametrize("trouble", [*NOT_SENT, no(429)])
async def test_what_certainly_did_not_happen_is_repeated_even_then(call: str, trouble: httpx2.Response | Exception):
    api, script = scale([trouble, no(400, "Really not.")])
    with pytest.raises(InvalidRequest) as caught:
        await ONCE[call](api)

    assert not caught.value.in_doubt
    assert len(script.requests) == 2


async def test_a_429_followed_by_a_doubt_is_a_doubt():
    api, script = scale([no(429), httpx2.ReadError("reset"), ok({})])
    with pytest.raises(OutcomeUnknown):
        await api.team.invite(["ann@example.com"], "member")

    assert len(script.requests) == 2


async def test_a_write_whose_time_is_over_is_a_doubt_too():
    api, _ = scale(hang, call_timeout=0.0)
    with pytest.raises(OutcomeUnknown, match="time for this call was over"):
        await api.team.invite(["ann@example.com"], "member")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
async def test_every_2xx_is_a_success(status: int):
    api, _ = scale(httpx2.Response(status, content=b"" if status == 204 else b"OK"))

    assert await api.tasks.audit(TASK_ID, accepted=True) == {}


@pytest.mark.parametrize("content", [b"OK", b"", b'{"success": true}', b'"OK"'])
async def test_an_audit_may_be_answered_with_anything_but_a_page_of_html(content: bytes):
    api, _ = scale(httpx2.Response(200, content=content))
    assert isinstance(await api.tasks.audit(TASK_ID, accepted=False, comments="No."), dict)

    api, _ = scale(httpx2.Response(200, html="<h1>Log in</h1>"))
    with pytest.raises(OutcomeUnknown):
        await api.tasks.audit(TASK_ID, accepted=False)


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, html="<h1>Welcome</h1>"),
        httpx2.Response(200, content=b""),
        httpx2.Response(200, content=b"\xff\xfe\x00"),
    ],
)
async def test_an_answer_that_is_none_is_named_as_such(answer: httpx2.Response):
    api, script = scale(answer, attempts=2)
    with pytest.raises(UnexpectedAnswer, match="cannot be read"):
        await api.tasks.get(TASK_ID)

    assert len(script.requests) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{}",
        b'{"task_id": {"a": "b"}}',
        b"[" * 100_000,
        b'{"task_id": ' + b"9" * 5000 + b"}",
    ],
)
async def test_an_answer_of_another_shape_is_not_asked_for_again(content: bytes):
    api, script = scale(httpx2.Response(200, content=content))
    with pytest.raises(UnexpectedAnswer, match="cannot be read"):
        await api.tasks.get(TASK_ID)

    assert len(script.requests) == 1


async def test_an_answer_without_end_is_not_taken_into_memory():
    api, _ = scale(ok({"task_id": "x" * 5000}), max_answer_bytes=4000)
    with pytest.raises(UnexpectedAnswer, match="more than"):
        await api.tasks.get(TASK_ID)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"status_code": 400, "error": "Bad \\u202e\\u0000name"}', "Bad name"),
        (b'{"message": "Other spelling"}', "Other spelling"),
        (b'{"error": {"code": 7}}', '{"code": 7}'),
        (b'{"error": "' + b"x" * 5000 + b'"}', "x" * 299 + "…"),
        (b"Plain text\nin lines", "Plain text in lines"),
        (b'["a", "b"]', '["a", "b"]'),
        (b"\xff\xff", "��"),
        (b"", None),
    ],
)
async def test_scales_words_are_quoted_clean_short_and_on_one_line(content: bytes, message: str | None):
    api, _ = scale(httpx2.Response(400, content=content))
    with pytest.raises(InvalidRequest) as caught:
        await api.tasks.get(TASK_ID)

    assert caught.value.scale_message == message
    assert len(str(caught.value)) < 700


async def test_a_page_of_html_is_not_quoted():
    api, _ = scale(httpx2.Response(403, html="<h1>Blocked</h1>"))
    with pytest.raises(Forbidden, match="without a message"):
        await api.tasks.get(TASK_ID)


async def test_a_redirect_within_our_origin_is_followed_for_a_read():
    api, script = scale([httpx2.Response(307, headers={"location": "/v1/moved?x=1"}), ok(TASK)])
    await api.tasks.get(TASK_ID)

    assert script.lines[1] == "GET /v1/moved?x=1"
    assert "authorization" in script.requests[1].headers


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/v1/task/x",
        "http://api.scale.com/v1",
        "https://api.scale.com:444/v1",
        "//evil.example/",
        "ftp://x",
        "https://[",
        "https://api.scale.com:port/",
    ],
)
async def test_a_redirect_to_elsewhere_is_not_followed_by_a_call(location: str):
    api, script = scale([httpx2.Response(302, headers={"location": location}), ok(TASK)])
    with pytest.raises(UnexpectedAnswer, match="redirect"):
        await api.tasks.get(TASK_ID)

    assert len(script.requests) == 1


async def test_redirects_in_a_circle_end():
    api, script = scale(httpx2.Response(302, headers={"location": "/v1/again"}))
    with pytest.raises(UnexpectedAnswer, match="redirect"):
        await api.tasks.get(TASK_ID)

    assert len(script.requests) == 6


async def test_a_write_follows_no_redirect():
    api, script = scale(httpx2.Response(307, headers={"location": "/v1/elsewhere"}))
    with pytest.raises(OutcomeUnknown, match="redirect"):
        await api.team.invite(["ann@example.com"], "member")

    assert len(script.requests) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", object()])
async def test_what_is_no_json_is_refused_before_sending(value: object):
    api, script = scale(ok(TASK))
    with pytest.raises(RefusedBeforeSending, match="JSON"):
        await api.tasks.set_metadata(TASK_ID, {"a": value})

    assert script.requests == []


async def test_a_query_that_is_no_text_is_refused_before_sending():
    api, script = scale(ok({}))
    with pytest.raises(RefusedBeforeSending, match="query"):
        await api.files.page("\ud800")

    assert script.requests == []


async def test_a_query_that_makes_too_long_an_address_is_refused_before_sending():
    api, script = scale(ok({}))
    with pytest.raises(RefusedBeforeSending, match="Ask for less"):
        await api.quality.training_attempts(quality_task_ids=["x" * 1000] * 100)

    assert script.requests == []


async def test_a_closed_api_refuses_further_calls():
    api, script = scale(ok(TASK))
    async with api:
        await api.tasks.get(TASK_ID)
    with pytest.raises(RefusedBeforeSending, match="closed"):
        await api.tasks.get(TASK_ID)

    assert len(script.requests) == 1


async def test_closing_an_api_that_was_never_used_is_fine():
    api, _ = scale(ok(TASK))
    await api.aclose()


async def test_429s_lower_the_number_of_requests_in_flight():
    api, _ = scale([no(429), no(429), ok(TASK)], max_in_flight=8)
    await api.tasks.get(TASK_ID)

    assert 4 <= api._client.limiter.allowed < 8


async def test_a_trace_tells_attempts_statuses_and_request_ids_and_no_names():
    api, _ = scale([no(503, x_request_id="r1"), httpx2.ReadError("reset"), ok(TASK, **{"x-request-id": "r3"})])
    with recording() as trace:
        await api.tasks.get("secret-id")

    (exchange,) = trace.exchanges
    assert (exchange.method, exchange.template) == ("GET", "/task/{task_id}")
    assert exchange.statuses == [503, None, 200]
    assert exchange.request_ids == ["r1", "r3"]
    assert (exchange.attempts, trace.requests, trace.retries, trace.last_request_id) == (3, 3, 2, "r3")
    assert exchange.seconds >= 0
    assert "secret-id" not in repr(trace)


async def test_a_recording_within_another_takes_nothing_away_from_it():
    api, _ = scale(ok(TASK))
    with recording() as outer:
        await api.tasks.get(TASK_ID)
        with recording() as inner:
            await api.tasks.get(TASK_ID)

    assert (len(outer.exchanges), outer.requests) == (2, 2)
    assert (len(inner.exchanges), inner.requests) == (1, 1)


async def test_traces_of_concurrent_calls_do_not_mix():
    api, _ = scale(ok(TASK))
    seen: dict[str, int] = {}

    async def work(name: str, times: int) -> None:
        with recording() as trace:
            for _ in range(times):
                await api.tasks.get(TASK_ID)
                await anyio.lowlevel.checkpoint()
        seen[name] = trace.requests

    async with anyio.create_task_group() as group:
        group.start_soon(work, "a", 3)
        group.start_soon(work, "b", 5)

    assert seen == {"a": 3, "b": 5}


async def test_a_long_recording_keeps_the_last_exchanges_only():
    api, _ = scale(ok(TASK))
    with recording() as trace:
        for _ in range(100):
            await api.tasks.get(TASK_ID)

    assert len(trace.exchanges) == 64
    assert trace.requests == 100
