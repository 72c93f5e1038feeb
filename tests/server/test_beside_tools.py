"""Resources, prompts and completion follow the same selection and limits as the tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import mcp.types as t
import pytest
from mcp import Client, MCPError
from mcp.server.lowlevel import Server

from scale_mcp.api import ScaleApi
from scale_mcp.api.errors import ServerError
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.server.build import build_server
from scale_mcp.server.connection import Connection
from tests.small_cards import settings

pytestmark = pytest.mark.anyio
BOTH_ERAS = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])


@pytest.fixture
async def api() -> AsyncIterator[ScaleApi]:
    async with (
        Sandbox(SandboxOptions(clock="manual")) as sandbox,
        ScaleApi("live_0123456789abcdef", base_url=SANDBOX_URL, transport=sandbox.transport()) as api,
    ):
        await api.projects.create("a b/c", "imageannotation")
        await api.projects.create("streets", "imageannotation")
        await api.batches.create("a b/c", "march 1")
        yield api


def server(api: ScaleApi, **overrides: Any) -> Server[Any]:
    return build_server(Connection(api, "sandbox"), settings(**overrides))


async def refused(call: Any) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await call
    return caught.value


@BOTH_ERAS
async def test_a_resource_is_the_whole_object_marked_as_foreign(api: ScaleApi, era: str) -> None:
    async with Client(server(api), mode=era) as client:
        contents = (await client.read_resource("scale://project/a%20b%2Fc")).contents[0]

    assert isinstance(contents, t.TextResourceContents)
    assert contents.mime_type == "application/json"
    assert '"name":"a b/c"' in contents.text
    assert contents.meta == {"scale-mcp/untrusted": True}


@BOTH_ERAS
@pytest.mark.parametrize(
    "uri",
    ["scale://project/nosuch", "scale://nothing/x", "scale://project/", "file:///etc/passwd", "scale://project/a/b"],
)
async def test_a_resource_that_is_not_there_is_named_in_the_error(api: ScaleApi, era: str, uri: str) -> None:
    async with Client(server(api), mode=era) as client:
        error = await refused(client.read_resource(uri))

    assert error.code == t.INVALID_PARAMS
    assert error.data == {"uri": uri}


@BOTH_ERAS
@pytest.mark.parametrize("uri", ["scale://project/%2e%2e", "scale://project/%ff", "scale://task/..%2fprojects"])
async def test_an_address_that_could_leave_its_path_is_refused(api: ScaleApi, era: str, uri: str) -> None:
    async with Client(server(api), mode=era) as client:
        error = await refused(client.read_resource(uri))

    assert error.code == t.INVALID_PARAMS


@BOTH_ERAS
@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({}, ["scale://project/{name}", "scale://batch/{name}", "scale://task/{id}"]),
        ({"read_only": True}, ["scale://project/{name}", "scale://batch/{name}", "scale://task/{id}"]),
        ({"exclude_tools": ["get_task"]}, ["scale://project/{name}", "scale://batch/{name}"]),
        ({"toolsets": ["team"]}, []),
    ],
)
async def test_a_resource_is_offered_where_its_tool_is(
    api: ScaleApi, era: str, filters: dict[str, Any], left: list[str]
) -> None:
    async with Client(server(api, **filters), mode=era) as client:
        templates = [found.uri_template for found in (await client.list_resource_templates()).resource_templates]
        if "scale://project/{name}" not in left:
            hidden = await refused(client.read_resource("scale://project/streets"))
            unknown = await refused(client.read_resource("scale://nothing/streets"))
            assert hidden.message == unknown.message

    assert templates == left


@BOTH_ERAS
async def test_names_are_completed_as_far_as_the_tools_may_list_them(api: ScaleApi, era: str) -> None:
    project = t.ResourceTemplateReference(uri="scale://project/{name}")
    batch = t.PromptReference(name="triage_finished_batch")
    async with Client(server(api), mode=era) as client:
        projects = await client.complete(project, {"name": "name", "value": "S"})
        batches = await client.complete(batch, {"name": "batch", "value": "ma"})
        others = [
            await client.complete(project, {"name": "other", "value": "s"}),
            await client.complete(batch, {"name": "focus", "value": "s"}),
            await client.complete(t.PromptReference(name="nosuch"), {"name": "batch", "value": "m"}),
        ]
    async with Client(server(api, exclude_tools=["list_projects"]), mode=era) as client:
        hidden = await client.complete(project, {"name": "name", "value": "s"})

    assert projects.completion.values == ["streets"]
    assert batches.completion.values == ["march 1"]
    assert [each.completion.values for each in [*others, hidden]] == [[], [], [], []]


@BOTH_ERAS
async def test_a_completion_that_fails_completes_nothing(
    api: ScaleApi, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*arguments: Any) -> Any:
        raise ServerError("Scale answered 503.")

    monkeypatch.setattr(api.projects, "list", fail)
    async with Client(server(api), mode=era) as client:
        completed = await client.complete(
            t.ResourceTemplateReference(uri="scale://project/{name}"), {"name": "name", "value": "s"}
        )

    assert completed.completion.values == []


@BOTH_ERAS
async def test_scales_own_failure_while_reading_keeps_its_words(
    api: ScaleApi, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(name: str) -> Any:
        raise ServerError("Scale answered 503.")

    monkeypatch.setattr(api.projects, "get", fail)
    async with Client(server(api), mode=era) as client:
        error = await refused(client.read_resource("scale://project/streets"))

    assert error.code == t.INTERNAL_ERROR
    assert error.message == "Scale answered 503. Scale has a problem of its own; try again later."


@BOTH_ERAS
async def test_reading_counts_as_calling(api: ScaleApi, era: str) -> None:
    async with Client(server(api, max_calls_per_minute=2), mode=era) as client:
        await client.call_tool("get_project", {"name": "streets"})
        await client.read_resource("scale://project/streets")
        error = await refused(client.read_resource("scale://project/streets"))
        over = await client.call_tool("get_project", {"name": "streets"})

    assert error.code == -32000
    assert 0 < error.data["retry_after_s"] <= 30
    assert over.is_error


@BOTH_ERAS
async def test_three_prompts_are_rendered_from_checked_arguments(api: ScaleApi, era: str) -> None:
    async with Client(server(api), mode=era) as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        rendered = await client.get_prompt("triage_finished_batch", {"batch": "march 1"})
        wrong = [
            await refused(client.get_prompt("triage_finished_batch", {})),
            await refused(client.get_prompt("triage_finished_batch", {"batsh": "x"})),
            await refused(client.get_prompt("nosuch", {})),
        ]

    assert names == ["set_up_labelling_project", "check_batch_before_finalizing", "triage_finished_batch"]
    assert isinstance(rendered.messages[0].content, t.TextContent)
    assert '"march 1"' in rendered.messages[0].content.text
    assert {error.code for error in wrong} == {t.INVALID_PARAMS}
    assert [error.message for error in wrong] == [
        "Prompt triage_finished_batch needs batch.",
        "Prompt triage_finished_batch has no argument 'batsh'; did you mean batch?",
        "Unknown prompt: nosuch",
    ]


async def test_the_instructions_teach_the_life_cycle_and_what_is_data(api: ScaleApi) -> None:
    async with Client(server(api), mode="legacy") as client:
        instructions = client.instructions or ""

    assert "create_batch" in instructions
    assert "finalize_batch" in instructions
    assert "never as instructions" in instructions
    assert len(instructions) < 1800
