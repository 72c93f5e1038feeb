"""A person's yes, end to end: by clients that can ask in either era, by the operator, once, and on every replica."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import mcp.types as t
import pytest
from mcp import Client, MCPError

from scale_mcp.hosting.audit.chain import OUTCOME
from scale_mcp.sandbox import Sandbox
from tests.hosting.hosted import DOORS, Hosted, connected, doors, hosted, rows_of, settings_for
from tests.hosting.processes import Operator

pytestmark = pytest.mark.anyio

YES = t.ElicitResult(action="accept", content={"confirm": True})
NO = t.ElicitResult(action="decline")
UNUSABLE = "Invalid or expired requestState"
ASSIGNED = {"emails": ["ada@example.com"], "projects": ["streets"]}
TOOL = "remove_studio_assignments"  # destroys, and needs nothing to be there before


class Person:
    """Somebody at the client, who gives one answer to every question."""

    def __init__(self, answer: t.ElicitResult = YES) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def __call__(self, ctx: Any, params: t.ElicitRequestParams) -> t.ElicitResult:
        self.asked.append(params.message)
        return self.answer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Hosted]:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as running:
        await running.connection("main", kind="live")
        yield running


@pytest.fixture
async def stored(database_url: str) -> AsyncIterator[Hosted]:
    """The same, once on each kind of store: for what the store decides."""
    async with hosted(database_url) as running:
        await running.connection("main", kind="live")
        yield running


def sent(sandbox: Sandbox) -> int:
    """How often Scale was asked to take assignments away."""
    return sum(entry["path"].endswith("/studio/assignments/remove") for entry in sandbox.log.entries(limit=1_000))


def code_of(result: t.CallToolResult) -> str:
    assert result.is_error, result
    assert result.meta is not None
    code: str = result.meta["scale-mcp/error"]["code"]
    return code


async def ended(server: Hosted) -> list[str]:
    return [row["outcome"] for row in await rows_of(server.house, OUTCOME)]


# --- clients that can ask -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("era", "door"), DOORS)
async def test_a_client_that_can_ask_is_asked_once_and_the_call_runs_after_a_yes(
    server: Hosted, era: str, door: str
) -> None:
    token, person = await server.persona("ada", "main"), Person()
    async with server.client(token, era, door, elicitation_callback=person) as client:
        result = await client.call_tool(TOOL, ASSIGNED)
    assert sent(server.sandbox) == 1, result
    [asked] = person.asked
    assert "on the LIVE Scale account" in asked
    assert "ada@example.com" in asked
    outcomes = await rows_of(server.house, OUTCOME)
    assert [decision["decision"] for row in outcomes for decision in row["decisions"]][-1] == "agreed"


@pytest.mark.parametrize("confirm", ["auto", "always", "operator"])
@pytest.mark.parametrize(("era", "door"), DOORS)
async def test_a_no_at_the_client_sends_nothing_whatever_the_policy(
    server: Hosted, era: str, door: str, confirm: str
) -> None:
    token = await server.persona("ada", "main", confirm=confirm)
    async with server.client(token, era, door, elicitation_callback=Person(NO)) as client:
        result = await client.call_tool(TOOL, ASSIGNED)
    assert code_of(result) == "no_consent"
    assert sent(server.sandbox) == 0
    assert (await ended(server))[-1] == "no_consent"
    assert await server.house.approvals.list(closed=True) == []


async def test_nobody_is_asked_where_the_policy_says_never_or_the_key_is_no_live_one(server: Hosted) -> None:
    await server.connection("box")
    person = Person(NO)
    for name, connection, confirm in (("ada", "main", "never"), ("bob", "box", "always")):
        token = await server.persona(name, connection, confirm=confirm)
        async with server.client(token, elicitation_callback=person) as client:
            await client.call_tool(TOOL, ASSIGNED)
    assert person.asked == []
    assert sent(server.sandbox) == 2


# --- clients that cannot ask ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confirm", "expected", "calls"),
    [("auto", None, 1), ("never", None, 1), ("always", "no_consent", 0), ("operator", "awaiting_approval", 0)],
)
@pytest.mark.parametrize(("era", "door"), DOORS)
async def test_a_client_that_cannot_ask_is_served_by_the_personas_policy(
    server: Hosted, era: str, door: str, confirm: str, expected: str | None, calls: int
) -> None:
    token = await server.persona("ada", "main", confirm=confirm)
    async with server.client(token, era, door) as client:
        result = await client.call_tool(TOOL, ASSIGNED)
    assert sent(server.sandbox) == calls
    if expected is not None:
        assert code_of(result) == expected


async def test_the_operators_yes_serves_one_call_of_that_persona_with_those_arguments(
    stored: Hosted, database_url: str
) -> None:
    tokens = [await stored.persona(name, "main", confirm="operator") for name in ("ada", "bob")]
    operator = Operator(database_url, f"{stored.sandbox_url}/v1")
    async with stored.client(tokens[0]) as ada, stored.client(tokens[1]) as bob:
        for _ in range(2):  # a second try is the same question
            waits = await ada.call_tool(TOOL, ASSIGNED)
            assert code_of(waits) == "awaiting_approval"
            assert waits.meta is not None
            assert waits.meta["scale-mcp/error"]["retryable"] is True
        [waiting] = json.loads(await operator.run("approvals", "--json"))
        assert (waiting["persona"], waiting["tool"]) == ("ada", TOOL)
        assert waiting["id"] in str(waits.content)

        await operator.run("approve", waiting["id"])
        other = await ada.call_tool(TOOL, {**ASSIGNED, "projects": ["roads"]})
        assert code_of(other) == "awaiting_approval"
        assert code_of(await bob.call_tool(TOOL, ASSIGNED)) == "awaiting_approval"
        assert sent(stored.sandbox) == 0

        await ada.call_tool(TOOL, ASSIGNED)
        assert sent(stored.sandbox) == 1
        assert code_of(await ada.call_tool(TOOL, ASSIGNED)) == "awaiting_approval"  # it was used

        for each in json.loads(await operator.run("approvals", "--json")):
            await operator.run("deny", each["id"])
        assert code_of(await ada.call_tool(TOOL, ASSIGNED)) == "no_consent"
        assert code_of(await bob.call_tool(TOOL, ASSIGNED)) == "no_consent"
        assert sent(stored.sandbox) == 1
    kinds = {kind: len(await rows_of(stored.house, f"approval.{kind}")) for kind in ("asked", "approved", "used")}
    assert kinds == {"asked": 4, "approved": 1, "used": 1}
    assert json.loads(await operator.run("audit", "verify", "--json"))["holds"] is True


# --- the answer comes with the repeated call ------------------------------------------------------------------------


async def question_of(client: Client, arguments: dict[str, Any] = ASSIGNED) -> t.InputRequiredResult:
    asked = await client.session.call_tool(TOOL, arguments, allow_input_required=True)
    assert isinstance(asked, t.InputRequiredResult)
    return asked


async def answered(client: Client, state: str | None, arguments: dict[str, Any] = ASSIGNED) -> Any:
    return await client.session.call_tool(
        TOOL, arguments, input_responses={"consent": YES}, request_state=state, allow_input_required=True
    )


async def test_an_answer_serves_once_over_all_replicas_and_for_nobody_else(stored: Hosted, database_url: str) -> None:
    ada, bob = [await stored.persona(name, "main") for name in ("ada", "bob")]
    another_of_ada = await stored.token("ada")
    another_user = await stored.token("ada", user="somebody else")
    asking: dict[str, Any] = {"era": "2026-07-28", "elicitation_callback": Person()}
    async with (
        doors(settings_for(database_url)) as (replica, _),
        stored.client(ada, **asking) as here,
        connected(replica, another_of_ada, **asking) as there,
        connected(replica, bob, **asking) as bobs,
        connected(replica, another_user, **asking) as anothers,
    ):
        state = (await question_of(here)).request_state
        for stranger in (bobs, anothers):
            with pytest.raises(MCPError, match=UNUSABLE):
                await answered(stranger, state)
        with pytest.raises(MCPError, match=UNUSABLE):
            await answered(there, state, {**ASSIGNED, "projects": ["roads"]})
        assert sent(stored.sandbox) == 0
        await answered(there, state)
        assert sent(stored.sandbox) == 1
        for client in (here, there):
            with pytest.raises(MCPError, match=UNUSABLE):
                await answered(client, state)
        assert sent(stored.sandbox) == 1


async def test_an_answer_counts_by_what_the_persona_may_do_when_it_comes(server: Hosted) -> None:
    token = await server.persona("ada", "main")
    async with server.client(token, "2026-07-28", elicitation_callback=Person()) as client:
        state = (await question_of(client)).request_state
        await server.edit("ada", read_only=True)
        with pytest.raises(MCPError, match=f"Unknown tool: {TOOL}"):
            await answered(client, state)
        await server.edit("ada", read_only=False, projects=("streets",))
        with pytest.raises(MCPError, match=f"Unknown tool: {TOOL}"):  # the studio is the whole account's
            await answered(client, state)
        await server.edit("ada", projects=())
        await answered(client, state)  # nothing of the refusals before spent it
        assert sent(server.sandbox) == 1


async def test_an_approval_is_worth_nothing_once_the_persona_lost_the_tool(server: Hosted) -> None:
    token = await server.persona("ada", "main", confirm="operator")
    async with server.client(token) as client:
        await client.call_tool(TOOL, ASSIGNED)
        [waiting] = await server.house.approvals.list()
        await server.house.approvals.approve(waiting.id, by="test")
        await server.edit("ada", deny=(TOOL,))
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool(TOOL, ASSIGNED)
    assert sent(server.sandbox) == 0


async def test_a_secret_among_the_arguments_is_not_in_the_question_that_waits(server: Hosted) -> None:
    token = await server.persona("ada", "main", confirm="operator", confirm_risk="write")
    key = "live_0000canary0000canary0000"
    async with server.client(token) as client:
        waits = await client.call_tool(
            "create_project", {"name": "x", "type": "imageannotation", "params": {"note": key}}
        )
    assert code_of(waits) == "awaiting_approval"
    [waiting] = await server.house.approvals.list()
    assert key not in json.dumps([waiting.arguments, waiting.why])
