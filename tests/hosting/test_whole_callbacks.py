"""From Scale's callback to whoever waits, lists, listens or watches, and to nobody else: over real sockets."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import mcp.types as t
import pytest
import sqlalchemy as sa
from mcp import Client, MCPError
from mcp.client.subscriptions import Subscription, SubscriptionLost

from scale_mcp.api import ScaleApi
from scale_mcp.hosting.persona_tables import claims, personas
from scale_mcp.sandbox import SandboxOptions
from tests.hosting.hosted import Hosted, connected, doors, hosted, settings_for

# Subscribing to single resources is of the older era, which is what is tried here.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]

KEY = "test_0callbacks0callbacks0"  # tasks of test keys are completed at once
SECRET = SandboxOptions().callback_auth
SESSIONS = [("legacy", "/mcp"), ("legacy", "/sse")]


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Hosted]:
    async with hosted(database_url) as running:
        await prepare(running)
        yield running


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Hosted]:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as running:
        await prepare(running)
        yield running


async def prepare(server: Hosted) -> None:
    await server.connection("main", KEY)
    await server.house.connections.set_callback_secret("main", SECRET, actor="test")
    async with ScaleApi(KEY, base_url=f"{server.sandbox_url}/v1") as api:
        for project in ("streets", "roads"):
            await api.projects.create(project, "textcollection")


async def complete(server: Hosted, project: str, token: str) -> str:
    """A task that is completed at once, of which Scale tells by a callback; its id."""
    connection = await server.house.connections.get("main")
    async with connected(server.url, token) as client:
        created = await client.call_tool(
            "create_text_collection_task",
            {
                "project": project,
                "instruction": "Read it.",
                "attachments": [{"type": "text", "content": "words"}],
                "fields": [{"type": "text", "field_id": "f", "title": "T", "description": "D"}],
                "callback_url": f"{server.url}/callbacks/{connection.id}",
            },
        )
    assert not created.is_error, created
    await server.sandbox.settle()
    assert created.structured_content is not None
    task_id: str = created.structured_content["task_id"]
    return task_id


async def ended(news: Subscription) -> bool:
    """Once it has: properly, or cut off."""
    try:
        async for _ in news:
            pass
    except SubscriptionLost:
        return True
    return True


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_a_callback_becomes_an_event_that_is_listed_and_wakes_who_waits_on_every_replica(
    server: Hosted, database_url: str
) -> None:
    token = await server.persona("ada", "main")
    async with (
        doors(settings_for(database_url)) as (replica, house),
        connected(server.url, token) as here,
        connected(replica, token) as there,
    ):
        start = (await here.call_tool("list_events", {})).structured_content
        assert start is not None
        woken: list[t.CallToolResult] = []

        async def wait(client: Client) -> None:
            further = {"after": start["next_after"], "project": "streets"}
            woken.append(await client.call_tool("wait_for_events", {**further, "timeout_s": 50}))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                listening = [(each, each.bus.listening) for each in (server.house, house)]
                tasks.start_soon(wait, here)
                tasks.start_soon(wait, there)
                await until(lambda: all(each.bus.listening > before for each, before in listening))
                await complete(server, "roads", token)
                task_id = await complete(server, "streets", token)
        assert len(woken) == 2
        for result in woken:
            assert result.structured_content is not None
            assert [event["task_id"] for event in result.structured_content["docs"]] == [task_id], result
        listed = (await there.call_tool("list_events", {"task_id": task_id})).structured_content
        assert listed is not None
        assert [(event["kind"], event["project"]) for event in listed["docs"]] == [("completed", "streets")]


async def test_a_stream_hears_of_what_its_persona_may_see_until_the_token_is_revoked(small: Hosted) -> None:
    everything = await small.persona("ada", "main")
    kept = await small.persona("kept", "main", projects=("roads",))
    addresses = ["scale://project/streets", "scale://project/roads"]
    async with (
        small.client(everything) as client,
        small.client(kept) as other,
        client.listen(resource_subscriptions=addresses) as all_news,
        other.listen(resource_subscriptions=addresses) as news,
    ):
        assert all_news.honored == news.honored  # which tells nothing about what there is
        with anyio.fail_after(30):
            await complete(small, "streets", everything)
            await complete(small, "roads", everything)
            heard = [await anext(aiter(all_news)) for _ in addresses]
            assert [event.uri for event in heard] == addresses  # type: ignore[union-attr]
            first = await anext(aiter(news))
            assert first.uri == "scale://project/roads"  # type: ignore[union-attr]
            await small.edit("kept", projects=("streets",))  # as it is now counts
            await complete(small, "roads", everything)
            await complete(small, "streets", everything)
            # The stream learns of it when the gate looks again, so roads may be heard once more; then streets is.
            rest = [await anext(aiter(all_news)) for _ in addresses]
            assert len(rest) == 2
            await small.edit("kept", disabled=True)
            assert await ended(news)


class News:
    """Keeps what a session's server says by itself."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def __call__(self, message: Any) -> None:
        if isinstance(message, t.ResourceUpdatedNotification):
            self.heard.append(str(message.params.uri))


@pytest.mark.parametrize(("era", "door"), SESSIONS)
async def test_a_session_hears_of_what_it_watches_and_its_persona_may_see(small: Hosted, era: str, door: str) -> None:
    everything = await small.persona("ada", "main")
    kept = await small.persona("kept", "main", projects=("roads",))
    streets, roads = "scale://project/streets", "scale://project/roads"
    all_news, news = News(), News()
    async with (
        small.client(everything, era, door, message_handler=all_news) as client,
        small.client(kept, era, door, message_handler=news) as other,
    ):
        for each in (client, other):
            for address in (streets, roads):
                await each.subscribe_resource(address)
        await complete(small, "streets", everything)
        await complete(small, "roads", everything)
        await until(lambda: all_news.heard == [streets, roads] and news.heard == [roads])

        await client.unsubscribe_resource(streets)
        await complete(small, "streets", everything)
        await complete(small, "roads", everything)
        await until(lambda: all_news.heard == [streets, roads, roads] and news.heard == [roads, roads])

        await small.edit("kept", disabled=True)
        await complete(small, "roads", everything)
        await until(lambda: len(all_news.heard) == 4 and len(small.watches) == 1)
        assert news.heard == [roads, roads]
    await until(lambda: gc.collect() >= 0 and len(small.watches) == 0)


async def test_a_persona_does_not_hear_by_the_rights_of_another_to_whom_its_name_was_given_as_a_claim(
    small: Hosted,
) -> None:
    token = await small.persona("ada", "main", projects=("roads",))
    everything = await small.persona("bob", "main")
    async with small.house.database.writing() as connection:
        bob = sa.select(sa.literal("ada"), personas.c.id).where(personas.c.name == "bob")
        await connection.execute(sa.insert(claims).from_select(["value", "persona_id"], bob))
    news = News()
    async with small.client(token, "legacy", message_handler=news) as client:
        await client.subscribe_resource("scale://project/streets")
        await client.subscribe_resource("scale://project/roads")
        await complete(small, "streets", everything)
        await complete(small, "roads", everything)
        await until(lambda: bool(news.heard))
    assert news.heard == ["scale://project/roads"]


async def test_no_more_can_be_watched_than_anybody_needs(small: Hosted) -> None:
    token = await small.persona("ada", "main")
    many, long = [f"scale://project/{number}" for number in range(201)], f"scale://project/{'x' * 2_000}"
    async with small.client(token) as client:
        for addresses in (many, [long]):
            with pytest.raises(MCPError, match=r"can be watched|characters at most"):
                async with client.listen(resource_subscriptions=addresses):
                    pass
        async with client.listen(resource_subscriptions=many[:200]):
            pass
    async with small.client(token, "legacy") as session:
        with pytest.raises(MCPError, match="characters at most"):
            await session.subscribe_resource(long)
        for address in many[:200]:
            await session.subscribe_resource(address)
        with pytest.raises(MCPError, match="can be watched"):
            await session.subscribe_resource(many[200])
        await session.subscribe_resource(many[0])  # which is watched already
        await session.unsubscribe_resource(many[0])
        await session.subscribe_resource(many[200])
