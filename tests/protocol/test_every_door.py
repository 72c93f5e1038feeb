"""The official client at every door, in both protocol eras: the answers are the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import mcp.types as t
import pytest
from mcp import Client, MCPError

from tests.doors import EVERY_DOOR, SMALL, Running, at, listening, over_stdio
from tests.small_cards import CANARY, CARDS

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was done through the api, one line each, whichever process did it."""
    path = tmp_path_factory.mktemp("small") / "done"
    path.touch()
    return path


@pytest.fixture(scope="module")
def running(done: Path) -> Iterator[Running]:
    with listening([*SMALL, "transport=http", "port=0"], {"SMALL_SERVER_LOG": str(done)}) as server:
        yield server


@pytest.fixture
def connect(running: Running, done: Path, door: str, era: str) -> Any:
    def client(**options: Any) -> Client:
        if door == "stdio":
            return over_stdio(SMALL, era, {"SMALL_SERVER_LOG": str(done)}, **options)
        return at(running.base, door, era, **options)

    return client


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


@EVERY_DOOR
async def test_tools_are_listed_and_called(connect: Any, era: str) -> None:
    with anyio.fail_after(20):
        async with connect() as client:
            assert client.protocol_version == ("2025-11-25" if era == "legacy" else era)
            assert [tool.name for tool in (await client.list_tools()).tools] == list(CARDS)
            result = await client.call_tool("look", {"name": "tree"})
            assert result.structured_content == {"said": "tree"}
            assert (await client.call_tool("look", {"names": "tree"})).is_error
            assert (await client.list_prompts()).prompts is not None
            assert (await client.list_resource_templates()).resource_templates is not None
            with pytest.raises(MCPError) as refused:
                await client.session.call_tool("nosuchthing", {})
            assert (refused.value.code, refused.value.message) == (-32602, "Unknown tool: nosuchthing")


@EVERY_DOOR
async def test_no_exception_text_crosses_the_wire(connect: Any) -> None:
    with anyio.fail_after(20):
        async with connect() as client:
            result = await client.call_tool("fail", {"how": "crash"})

    assert result.is_error
    assert CANARY not in result.model_dump_json()
    assert "secret" not in result.model_dump_json()


@EVERY_DOOR
@pytest.mark.parametrize("agrees", [True, False], ids=["yes", "no"])
async def test_the_person_decides_about_what_cannot_be_undone(
    connect: Any, done: Path, door: str, era: str, agrees: bool
) -> None:
    asked = []

    async def person(ctx: Any, params: t.ElicitRequestParams) -> t.ElicitResult:
        asked.append(params.message)
        return (
            t.ElicitResult(action="accept", content={"confirm": True}) if agrees else t.ElicitResult(action="decline")
        )

    name = f"{door}-{era}-{agrees}"
    with anyio.fail_after(20):
        async with connect(elicitation_callback=person) as client:
            result = await client.call_tool("erase", {"name": name})

    assert len(asked) == 1
    assert name in asked[0]
    assert bool(result.is_error) is not agrees
    assert (f"erase {name}" in lines_of(done)) is agrees


@EVERY_DOOR
async def test_progress_arrives(connect: Any) -> None:
    seen = []

    async def on_progress(finished: float, total: float | None, message: str | None) -> None:
        seen.append((finished, total, message))

    with anyio.fail_after(20):
        async with connect() as client:
            await client.call_tool("say", {"text": "x"}, progress_callback=on_progress)

    assert seen == [(1, 1, "said")]


@EVERY_DOOR
async def test_a_cancelled_call_leaves_the_connection_usable(connect: Any) -> None:
    started = anyio.Event()

    async def on_progress(finished: float, total: float | None, message: str | None) -> None:
        started.set()

    with anyio.fail_after(20):
        async with connect() as client:
            async with anyio.create_task_group() as tasks:

                async def call() -> None:
                    await client.call_tool("wait", {}, progress_callback=on_progress)

                tasks.start_soon(call)
                await started.wait()
                tasks.cancel_scope.cancel()
            assert not (await client.call_tool("look", {"name": "after"})).is_error


@EVERY_DOOR
async def test_many_calls_at_once_are_each_answered(connect: Any) -> None:
    answers = {}

    with anyio.fail_after(30):
        async with connect() as client, anyio.create_task_group() as tasks:

            async def call(number: int) -> None:
                result = await client.call_tool("look", {"name": str(number)})
                answers[number] = result.structured_content

            for number in range(40):
                tasks.start_soon(call, number)

    assert answers == {number: {"said": str(number)} for number in range(40)}


@EVERY_DOOR
async def test_two_megabytes_come_through_both_ways(connect: Any) -> None:
    with anyio.fail_after(30):
        async with connect() as client:
            result = await client.call_tool("say", {"text": "x" * 2_000_000})

    assert not result.is_error
    assert result.meta["scale-mcp/shortened"] is True
