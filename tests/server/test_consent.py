"""Before a call that cannot be undone, the person at the client is asked, in both protocol eras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mcp.types as t
import pytest
from mcp import Client, MCPError

from scale_mcp.server.consent import ConsentGate, Place, SpentHere, question
from scale_mcp.server.results import ERROR_META
from tests.small_cards import CARDS, FakeApi, built, settings

pytestmark = pytest.mark.anyio
BOTH_ERAS = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
YES = t.ElicitResult(action="accept", content={"confirm": True})


class Person:
    """Somebody at the client, who gives one answer to every question."""

    def __init__(self, answer: t.ElicitResult | t.ErrorData = YES) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def __call__(self, ctx: Any, params: t.ElicitRequestParams) -> t.ElicitResult | t.ErrorData:
        self.asked.append(params.message)
        return self.answer


@BOTH_ERAS
async def test_a_destroying_call_on_a_live_key_runs_after_a_yes(era: str) -> None:
    api, person = FakeApi(), Person()
    async with Client(built(api=api), mode=era, elicitation_callback=person) as client:
        result = await client.call_tool("erase", {"name": "old", "reason": "tidy"})

    assert not result.is_error
    assert api.done == ["erase old"]
    assert len(person.asked) == 1


@BOTH_ERAS
async def test_the_question_names_tool_account_arguments_and_what_cannot_be_undone(era: str) -> None:
    person = Person()
    async with Client(built(), mode=era, elicitation_callback=person) as client:
        await client.call_tool("finalize_batch", {"batch_name": "march"})

    assert person.asked == [
        "Run Finalize a batch (finalize_batch) on the LIVE Scale account at https://api.scale.com/v1?\n"
        '  batch_name: "march"\n'
        "Paid work on the whole batch starts, and no task can be added to it afterwards."
    ]


@BOTH_ERAS
@pytest.mark.parametrize(
    "answer",
    [
        t.ElicitResult(action="decline"),
        t.ElicitResult(action="cancel"),
        t.ElicitResult(action="accept", content={"confirm": False}),
        t.ElicitResult(action="accept", content={}),
        t.ElicitResult(action="accept", content={"confirm": "true"}),
        t.ElicitResult(action="decline", content={"confirm": True}),
    ],
    ids=["decline", "cancel", "no", "nothing", "a word", "decline with a yes"],
)
async def test_anything_but_a_clear_yes_runs_nothing(era: str, answer: t.ElicitResult) -> None:
    api = FakeApi()
    async with Client(built(api=api), mode=era, elicitation_callback=Person(answer)) as client:
        result = await client.call_tool("erase", {"name": "old"})

    assert result.is_error
    assert "did not agree" in result.content[0].text  # type: ignore[union-attr]
    assert (result.meta or {})[ERROR_META]["code"] == "no_consent"
    assert api.done == []


async def test_a_client_that_fails_to_ask_gets_no_call() -> None:
    api = FakeApi()
    broken = Person(t.ErrorData(code=-32603, message="no window to show it in"))
    async with Client(built(api=api), mode="legacy", elicitation_callback=broken) as client:
        result = await client.call_tool("erase", {"name": "old"})

    assert result.is_error
    assert "could not put the question" in result.content[0].text  # type: ignore[union-attr]
    assert api.done == []


@BOTH_ERAS
@pytest.mark.parametrize(
    ("confirm", "runs"), [("auto", True), ("never", True), ("always", False)], ids=["auto", "never", "always"]
)
async def test_where_the_client_cannot_ask_the_operator_has_decided(era: str, confirm: str, runs: bool) -> None:
    api = FakeApi()
    async with Client(built(api=api, confirm=confirm), mode=era) as client:
        result = await client.call_tool("erase", {"name": "old"})

    assert bool(result.is_error) is not runs
    assert api.done == (["erase old"] if runs else [])
    if not runs:
        assert "--confirm auto" in result.content[0].text  # type: ignore[union-attr]


@BOTH_ERAS
async def test_with_confirm_never_nobody_is_asked(era: str) -> None:
    api, person = FakeApi(), Person()
    async with Client(built(api=api, confirm="never"), mode=era, elicitation_callback=person) as client:
        await client.call_tool("erase", {"name": "old"})

    assert (person.asked, api.done) == ([], ["erase old"])


@BOTH_ERAS
@pytest.mark.parametrize("kind", ["test", "sandbox"])
async def test_test_keys_and_the_sandbox_are_never_asked_about(era: str, kind: Any) -> None:
    api, person = FakeApi(), Person()
    server = built(kind, api, confirm="always", confirm_risk="write")
    async with Client(server, mode=era, elicitation_callback=person) as client:
        for name in ("erase", "pay", "change"):
            await client.call_tool(name, {"name": "old"})

    assert person.asked == []
    assert api.done == ["erase old", "pay old", "change old"]


@pytest.mark.parametrize(
    ("confirm_risk", "asked_about"),
    [
        ("destroy", {"erase", "finalize_batch", "set_params"}),
        ("spend", {"erase", "finalize_batch", "set_params", "pay"}),
        ("write", {"erase", "finalize_batch", "set_params", "pay", "change"}),
    ],
)
def test_confirm_risk_widens_what_is_asked_about(confirm_risk: str, asked_about: set[str]) -> None:
    gate = ConsentGate("auto", settings(confirm_risk=confirm_risk).confirm_risk)
    live = Place(real=True, address="https://api.scale.com/v1")

    assert {name for name, card in CARDS.items() if gate.asks_about(card, card.risk, live)} == asked_about


@BOTH_ERAS
async def test_a_card_may_find_the_risk_of_one_call_milder(era: str) -> None:
    person = Person()
    async with Client(built(), mode=era, elicitation_callback=person) as client:
        await client.call_tool("set_params", {"name": "streets", "patch": True})
        assert person.asked == []
        await client.call_tool("set_params", {"name": "streets"})

    assert len(person.asked) == 1


@BOTH_ERAS
async def test_wrong_arguments_are_refused_before_anybody_is_asked(era: str) -> None:
    person = Person()
    async with Client(built(), mode=era, elicitation_callback=person) as client:
        result = await client.call_tool("erase", {"names": "old"})

    assert result.is_error
    assert person.asked == []


@BOTH_ERAS
async def test_discovery_asks_like_a_direct_call(era: str) -> None:
    api, person = FakeApi(), Person(t.ElicitResult(action="decline"))
    async with Client(built(api=api, discovery=True), mode=era, elicitation_callback=person) as client:
        result = await client.call_tool("run_tool", {"name": "erase", "arguments": {"name": "old"}})

    assert result.is_error
    assert "(erase)" in person.asked[0]
    assert api.done == []


def test_an_argument_cannot_imitate_a_line_of_the_question() -> None:
    text = question(
        CARDS["erase"], "destroy", {"name": "a\nThis is harmless.\u2028b\u202ec\u200b" + "d" * 900}, "https://x"
    )

    assert len(text.splitlines()) == 3
    assert not set(text) & set("\u2028\u202e\u200b")
    assert "characters)" in text.splitlines()[1]


# --- from 2026-07-28 on the answer comes with the repeated call, so the link between the two must hold -------------


async def asked(client: Client, arguments: dict[str, Any], name: str = "erase") -> t.InputRequiredResult:
    result = await client.session.call_tool(name, arguments, allow_input_required=True)
    assert isinstance(result, t.InputRequiredResult)
    return result


async def answered(client: Client, state: str | None, arguments: dict[str, Any], name: str = "erase") -> Any:
    return await client.session.call_tool(
        name, arguments, input_responses={"consent": YES}, request_state=state, allow_input_required=True
    )


async def refusal(call: Any) -> tuple[int, str]:
    with pytest.raises(MCPError) as refused:
        await call
    return refused.value.code, refused.value.message


UNUSABLE = (-32602, "Invalid or expired requestState")


async def test_a_yes_serves_exactly_once() -> None:
    api = FakeApi()
    async with Client(built(api=api), mode="2026-07-28", elicitation_callback=Person()) as client:
        state = (await asked(client, {"name": "old"})).request_state

        first = await answered(client, state, {"name": "old"})
        second = await refusal(answered(client, state, {"name": "old"}))

    assert not first.is_error
    assert second == UNUSABLE
    assert api.done == ["erase old"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("erase", {"name": "other"}), ("erase", {"name": "old", "reason": "x"}), ("set_params", {"name": "old"})],
    ids=["another value", "one argument more", "another tool"],
)
async def test_a_yes_is_bound_to_the_tool_and_its_exact_arguments(name: str, arguments: dict[str, Any]) -> None:
    api = FakeApi()
    async with Client(built(api=api), mode="2026-07-28", elicitation_callback=Person()) as client:
        state = (await asked(client, {"name": "old"})).request_state

        assert await refusal(answered(client, state, arguments, name)) == UNUSABLE

    assert api.done == []


async def test_a_yes_is_bound_to_the_caller() -> None:
    api = FakeApi()
    server = built(api=api)
    somebody, another = (t.Implementation(name=name, version="1") for name in ("somebody", "another"))
    async with (
        Client(server, mode="2026-07-28", elicitation_callback=Person(), client_info=somebody) as first,
        Client(server, mode="2026-07-28", elicitation_callback=Person(), client_info=another) as second,
    ):
        state = (await asked(first, {"name": "old"})).request_state

        assert await refusal(answered(second, state, {"name": "old"})) == UNUSABLE

    assert api.done == []


async def test_a_yes_from_another_server_is_worth_nothing() -> None:
    api = FakeApi()
    async with (
        Client(built(), mode="2026-07-28", elicitation_callback=Person()) as first,
        Client(built(api=api), mode="2026-07-28", elicitation_callback=Person()) as second,
    ):
        state = (await asked(first, {"name": "old"})).request_state

        assert await refusal(answered(second, state, {"name": "old"})) == UNUSABLE

    assert api.done == []


async def test_a_made_up_state_gets_the_same_answer_as_a_spent_one() -> None:
    async with Client(built(), mode="2026-07-28", elicitation_callback=Person()) as client:
        assert await refusal(answered(client, "v1.bm9uc2Vuc2U", {"name": "old"})) == UNUSABLE


async def test_an_answer_without_a_question_is_not_an_answer() -> None:
    api = FakeApi()
    async with Client(built(api=api), mode="2026-07-28", elicitation_callback=Person()) as client:
        result = await answered(client, None, {"name": "old"})

    assert isinstance(result, t.InputRequiredResult)
    assert api.done == []


async def test_a_no_spends_the_question_too() -> None:
    api = FakeApi()
    async with Client(built(api=api), mode="2026-07-28", elicitation_callback=Person()) as client:
        state = (await asked(client, {"name": "old"})).request_state
        no = {"consent": t.ElicitResult(action="decline")}
        result = await client.session.call_tool("erase", {"name": "old"}, input_responses=no, request_state=state)

        assert result.is_error
        assert await refusal(answered(client, state, {"name": "old"})) == UNUSABLE

    assert api.done == []


async def test_a_yes_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    import mcp.server.request_state as request_state

    api = FakeApi()
    now = [1_000_000.0]
    monkeypatch.setattr(request_state.time, "time", lambda: now[0])
    async with Client(built(api=api), mode="2026-07-28", elicitation_callback=Person()) as client:
        state = (await asked(client, {"name": "old"})).request_state
        now[0] += 601

        assert await refusal(answered(client, state, {"name": "old"})) == UNUSABLE

    assert api.done == []


async def test_spent_questions_are_forgotten_when_their_state_has_expired_anyway() -> None:
    now = [0.0]
    spent = SpentHere(clock=lambda: now[0])
    for number in range(50):
        now[0] += 100
        assert await spent.spend(f"state-{number}", 600)
        assert not await spent.spend(f"state-{number}", 600)

    assert len(spent._spent) <= 7


async def test_a_client_that_only_opens_links_cannot_be_asked_a_question() -> None:
    from scale_mcp.server.consent import _can_ask

    class Session:
        can_send_request = True

        def __init__(self, capability: t.ElicitationCapability | None) -> None:
            self.client_capabilities = t.ClientCapabilities(elicitation=capability)

    class Context:
        protocol_version = "2025-11-25"

        def __init__(self, capability: t.ElicitationCapability | None) -> None:
            self.session = Session(capability)

    can: Callable[[Any], bool] = lambda capability: _can_ask(Context(capability))  # type: ignore[arg-type]  # noqa: E731
    assert can(t.ElicitationCapability())
    assert can(t.ElicitationCapability(form=t.FormElicitationCapability()))
    assert not can(t.ElicitationCapability(url=t.UrlElicitationCapability()))
    assert not can(None)


@pytest.mark.parametrize(
    ("patch", "last_line"),
    [(False, "Every other parameter is dropped."), (True, "This changes something that can be put back.")],
)
async def test_a_call_that_its_arguments_make_milder_is_not_said_to_destroy(patch: bool, last_line: str) -> None:
    person = Person()
    async with Client(built(confirm_risk="write"), elicitation_callback=person) as client:
        await client.call_tool("set_params", {"name": "streets", "patch": patch})

    assert person.asked[0].splitlines()[-1] == last_line
