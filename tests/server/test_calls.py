"""A tool call is checked, run and answered, whatever happens; no exception's text gets out."""

from __future__ import annotations

import logging
import re
from typing import Any

import anyio
import mcp.types as t
import pytest
from mcp import Client, MCPError
from mcp.server import ServerRequestContext

from scale_mcp.server.results import ERROR_META
from tests.small_cards import CANARY, CARDS, FakeApi, built

pytestmark = pytest.mark.anyio
BOTH_ERAS = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])


def text_of(result: t.CallToolResult) -> str:
    assert isinstance(result.content[0], t.TextContent)
    return result.content[0].text


def error_of(result: t.CallToolResult) -> dict[str, Any]:
    assert result.is_error
    error: dict[str, Any] = (result.meta or {})[ERROR_META]
    return error


@BOTH_ERAS
async def test_a_call_answers_structure_and_a_fenced_text(era: str) -> None:
    async with Client(built(), mode=era) as client:
        result = await client.call_tool("look", {"name": "tree"})

    assert result.structured_content == {"said": "tree"}
    assert re.fullmatch(r"<scale-data ([0-9a-f]{8})>\nSaid tree\.\n</scale-data \1>", text_of(result))


@BOTH_ERAS
async def test_every_tool_has_title_schemas_and_all_four_hints(era: str) -> None:
    async with Client(built(), mode=era) as client:
        listed = (await client.list_tools()).tools

    assert [tool.name for tool in listed] == list(CARDS)
    for tool in listed:
        assert tool.title
        assert tool.description
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema
        assert tool.annotations
        hints = tool.annotations.model_dump(exclude_none=True)
        assert set(hints) == {"read_only_hint", "destructive_hint", "idempotent_hint", "open_world_hint"}


async def test_hints_follow_the_risk() -> None:
    async with Client(built()) as client:
        hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}

    shown = {
        name: (hints[name].read_only_hint, hints[name].destructive_hint, hints[name].idempotent_hint)  # type: ignore[union-attr]
        for name in ("look", "change", "pay", "erase")
    }
    assert shown == {
        "look": (True, False, True),
        "change": (False, False, True),
        "pay": (False, False, False),
        "erase": (False, True, False),
    }


@BOTH_ERAS
@pytest.mark.parametrize(
    ("arguments", "word"),
    [({}, "missing"), ({"name": 3}, "name"), ({"name": "x", "names": "y"}, "did you mean"), ({"name": None}, "null")],
)
async def test_wrong_arguments_are_a_tool_error_with_a_cure_and_nothing_runs(
    arguments: dict[str, Any], word: str, era: str
) -> None:
    api = FakeApi()
    async with Client(built(api=api), mode=era) as client:
        result = await client.call_tool("look", arguments)

    assert error_of(result)["code"] == "invalid_arguments"
    assert word in text_of(result)
    assert api.done == []


@BOTH_ERAS
async def test_an_expected_failure_keeps_its_words(era: str) -> None:
    async with Client(built(), mode=era) as client:
        result = await client.call_tool("fail", {"how": "expected"})

    assert text_of(result) == "There is no such thing; look for another."
    assert error_of(result)["code"] == "tool_failure"


@BOTH_ERAS
async def test_scales_refusal_comes_with_its_facts_for_a_program(era: str) -> None:
    async with Client(built(), mode=era) as client:
        result = await client.call_tool("fail", {"how": "scale"})

    assert text_of(result).startswith('Scale answered 429: "slow down"')
    assert error_of(result) == {
        "code": "rate_limited",
        "status": 429,
        "retryable": True,
        "retry_after_s": 7.0,
        "request_id": "req-1",
    }


@BOTH_ERAS
@pytest.mark.parametrize("how", ["crash", "validation", "recursion"])
async def test_no_text_of_an_unexpected_exception_gets_out(
    how: str, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(built(), mode=era) as client:
        result = await client.call_tool("fail", {"how": how})

    error = error_of(result)
    assert error["code"] == "internal_error"
    assert error["request_id"] in text_of(result)
    assert CANARY not in result.model_dump_json()
    assert error["request_id"] in caplog.text


@BOTH_ERAS
@pytest.mark.parametrize("method", ["tools/list", "prompts/list", "resources/list", "resources/templates/list"])
async def test_no_text_gets_out_of_middleware_either(method: str, era: str) -> None:
    async def crash(ctx: ServerRequestContext[Any, Any], call_next: Any) -> Any:
        if ctx.method == method:
            raise RuntimeError(CANARY)
        return await call_next(ctx)

    server = built()
    server.middleware.append(crash)
    async with Client(server, mode=era) as client:
        with pytest.raises(MCPError) as refused:
            await client.session.send_request(_request(method), t.EmptyResult)

    assert refused.value.code == t.INTERNAL_ERROR
    assert re.fullmatch(r"Internal error; the operator finds it in the log under [0-9a-f]{8}\.", refused.value.message)


def _request(method: str) -> Any:
    return {
        "tools/list": t.ListToolsRequest,
        "prompts/list": t.ListPromptsRequest,
        "resources/list": t.ListResourcesRequest,
        "resources/templates/list": t.ListResourceTemplatesRequest,
    }[method]()


@BOTH_ERAS
async def test_progress_reaches_a_caller_who_asked_and_only_grows(era: str) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        seen.append((done, total, message))

    api = FakeApi()
    async with Client(built(api=api), mode=era) as client, anyio.create_task_group() as tasks:

        async def call() -> None:
            await client.call_tool("wait", {}, progress_callback=on_progress)

        tasks.start_soon(call)
        with anyio.fail_after(5):
            await api.started.wait()
        tasks.cancel_scope.cancel()

    assert seen == [(1, 2, "half"), (2, 2, "all")]


@BOTH_ERAS
async def test_cancelling_a_call_reaches_the_tool(era: str) -> None:
    api = FakeApi()
    with anyio.fail_after(5):
        async with Client(built(api=api), mode=era) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "wait", {})
                await api.started.wait()
                tasks.cancel_scope.cancel()
            await client.call_tool("look", {"name": "after"})

    assert api.cancelled == 1


@BOTH_ERAS
async def test_a_call_is_given_up_after_its_time(era: str) -> None:
    api = FakeApi()
    async with Client(built(api=api, call_timeout=0.05), mode=era) as client:
        result = await client.call_tool("wait", {})

    assert error_of(result) == {"code": "timeout", "retryable": True}
    assert api.cancelled == 1


@BOTH_ERAS
async def test_calls_above_the_limit_get_a_typed_error_with_the_wait(era: str) -> None:
    api = FakeApi()
    async with Client(built(api=api, max_calls_per_minute=3), mode=era) as client:
        results = [await client.call_tool("look", {"name": str(number)}) for number in range(5)]

    assert [bool(result.is_error) for result in results] == [False, False, False, True, True]
    error = error_of(results[-1])
    assert error["code"] == "too_many_calls"
    assert error["retryable"] is True
    assert 0 < error["retry_after_s"] <= 20
    assert len(api.done) == 3


@BOTH_ERAS
async def test_a_result_above_the_cap_is_shortened_and_says_so(era: str) -> None:
    async with Client(built(max_result_chars=2000), mode=era) as client:
        result = await client.call_tool("say", {"text": "0123456789", "times": 100_000})

    assert len(result.model_dump_json()) < 4000
    assert "Shortened to fit" in text_of(result)
    assert (result.meta or {})["scale-mcp/shortened"] is True
    assert not result.is_error


@BOTH_ERAS
async def test_invisible_characters_do_not_come_through(era: str) -> None:
    hidden = "a\u202eb\u200bc\U000e0041d\x1b[31me"
    async with Client(built(), mode=era) as client:
        result = await client.call_tool("say", {"text": hidden})

    assert result.structured_content == {"said": "abcd[31me"}
    assert not set(result.model_dump_json()) & set("\u202e\u200b\U000e0041\x1b")


@pytest.mark.parametrize(
    ("tool", "arguments", "level", "outcome"),
    [
        ("look", {"name": "tree"}, logging.DEBUG, "ok"),  # a read that went well is the only quiet one
        ("look", {"nam": "tree"}, logging.INFO, "invalid_arguments"),
        ("change", {"name": "tree"}, logging.INFO, "ok"),
    ],
)
async def test_each_call_leaves_a_line_in_the_log(
    tool: str, arguments: dict[str, str], level: int, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Client(built()) as client:
        await client.call_tool(tool, arguments)

    records = [record for record in caplog.records if "tool_call" in str(record.msg)]
    assert [record.levelno for record in records] == [level]
    line = records[0].msg
    assert line["tool"] == tool  # type: ignore[index]
    assert line["outcome"] == outcome  # type: ignore[index]
    assert "tree" not in str(line)


async def test_lists_carry_cache_hints_for_new_clients() -> None:
    async with Client(built(), mode="2026-07-28") as client:
        tools, prompts = await client.list_tools(), await client.list_prompts()
        templates = await client.list_resource_templates()

    assert {(each.ttl_ms, each.cache_scope) for each in (tools, prompts, templates)} == {(300_000, "public")}


@BOTH_ERAS
async def test_the_tools_come_on_one_page_unless_pages_are_wanted(era: str) -> None:
    async with Client(built(), mode=era) as client:
        whole = await client.list_tools()
    async with Client(built(list_page_size=4), mode=era) as client:
        names, cursor, pages = [], None, 0
        while pages == 0 or cursor:
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            cursor, pages = page.next_cursor, pages + 1

    assert whole.next_cursor is None
    assert (names, pages) == ([tool.name for tool in whole.tools], 3)


@BOTH_ERAS
@pytest.mark.parametrize("cursor", ["bogus", "", "MA", "NC5hYmM", "ü", "0" * 5000])
@pytest.mark.parametrize("page_size", [0, 4])
async def test_a_cursor_that_was_not_handed_out_is_refused(cursor: str, page_size: int, era: str) -> None:
    async with Client(built(list_page_size=page_size), mode=era) as client:
        with pytest.raises(MCPError) as refused:
            await client.list_tools(cursor=cursor)

    assert refused.value.code == t.INVALID_PARAMS


async def test_the_transport_gets_schemas_of_offered_tools_only() -> None:
    server = built(toolsets=["tasks"])

    assert server.get_tool_input_schema is not None
    assert server.get_tool_input_schema("look") is not None
    assert server.get_tool_input_schema("erase") is None
