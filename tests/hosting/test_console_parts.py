"""Parts of the console by themselves: states in words, and batches that are read seldom and with patience."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

import scale_mcp.server.hosted.console.batches as batches
from scale_mcp.api.errors import RateLimited
from scale_mcp.hosting.accounts import NoKey
from scale_mcp.hosting.clock import stamp
from scale_mcp.hosting.connection_records import KeyRecord
from scale_mcp.hosting.health import StoredHealth
from scale_mcp.hosting.personas import Budget, Persona, Route, When
from scale_mcp.models.batches import Batch, BatchPage
from scale_mcp.server.hosted.console.batches import LASTS, BatchBook
from scale_mcp.server.hosted.console.personas import conditions, confirm_words, state_of
from scale_mcp.server.hosted.console.states import State, of_connection, of_key, of_outcome

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SOON, LATELY, LONG_AGO = (stamp(NOW + timedelta(minutes=minutes)) for minutes in (4, -1, -60))

UNTIL = f"cooling until {SOON[11:19]}"


def key(last_status: str = "ok", last_used_at: str | None = LATELY) -> KeyRecord:
    return KeyRecord("key_1", "con_1", "0123456789ab", "active", LONG_AGO, None, last_used_at, None, last_status)


def wrote(state: str, cooling_until: str | None = None, at: str = LATELY, replica: str = "a:1") -> StoredHealth:
    return StoredHealth("key_1", replica, state, cooling_until, 1, 0, 0, at)


@pytest.mark.parametrize(
    ("record", "health", "words", "tone"),
    [
        (key(), [], "ready", "good"),
        (key("unchecked", None), [], "not used yet", "idle"),
        (key("failed"), [], "last answer failed", "bad"),
        (key("refused"), [], "refused by Scale", "bad"),
        (key(), [wrote("cooling", SOON)], UNTIL, "wait"),
        (key(), [wrote("cooling", SOON), wrote("ready", replica="b:1")], f"{UNTIL} on 1 of 2 servers", "wait"),
        (key(), [wrote("cooling", LONG_AGO)], "ready", "good"),  # it was, and nobody has used it since
        (key(), [wrote("refused")], "refused by Scale", "bad"),
        (key(), [wrote("refused", at=LONG_AGO)], "ready", "good"),  # that server may be no more
        (key(), [wrote("probation")], "on probation", "wait"),
    ],
)
def test_a_keys_state_is_told_in_words(record: KeyRecord, health: list[StoredHealth], words: str, tone: str) -> None:
    assert of_key(record, health, NOW) == State(words, tone)


@pytest.mark.parametrize(
    ("tones", "words", "tone"),
    [
        ([], "no key", "bad"),
        (["good", "idle"], "healthy", "good"),
        (["idle"], "not used yet", "idle"),
        (["good", "wait"], "1 of 2 keys limited by Scale", "wait"),
        (["good", "bad", "wait"], "2 of 3 keys in trouble", "wait"),
        (["wait", "wait"], "limited by Scale", "wait"),
        (["bad", "wait"], "in trouble", "bad"),
    ],
)
def test_a_connection_fares_as_its_keys_do(tones: list[Any], words: str, tone: str) -> None:
    record: Any = None
    assert of_connection(record, [State("", each) for each in tones]) == State(words, tone)


@pytest.mark.parametrize(
    ("outcome", "words", "tone"),
    [
        ("ok", "ok", "good"),
        ("unknown", "no outcome yet", "wait"),
        ("awaiting_approval", "awaiting approval", "wait"),
        ("NotFound", "not found", "bad"),
        ("budget_spent", "budget spent", "bad"),
    ],
)
def test_an_outcome_is_told_in_words(outcome: str, words: str, tone: str) -> None:
    assert of_outcome(outcome) == State(words, tone)


def test_what_a_persona_lacks_is_told_first() -> None:
    may = {"scopes": ("*",), "routes": (Route("main"),)}
    assert state_of(Persona("", "a", **may)).words == "enabled"
    assert state_of(Persona("", "a", **may, read_only=True)).words == "read-only"
    assert state_of(Persona("", "a", routes=(Route("main"),))).words == "may use nothing"
    assert state_of(Persona("", "a", tools=("get_task",))).words == "no connection"
    assert state_of(Persona("", "a", **may, disabled=True, budget=Budget())).words == "disabled"


def test_routes_and_questions_are_told_in_words() -> None:
    assert conditions(Route("main")) == "all calls"
    assert conditions(Route("main", When(tools=("a", "b"), projects=("c",)))) == "tools: a, b; projects: c"
    assert confirm_words(Persona("", "a", confirm="never")) == "never"
    assert "under Approvals (live calls of risk destroy" in confirm_words(Persona("", "a", confirm="operator"))


class Accounts:
    """A Scale account that answers as told, and counts how often it is asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    async def named(self, name: str) -> Any:
        async def page(*_: Any) -> BatchPage:
            self.asked += 1
            await anyio.lowlevel.checkpoint()
            if isinstance(self.answer, Exception):
                raise self.answer
            if self.answer == "never":
                await anyio.sleep_forever()
            return BatchPage(docs=[Batch(name=f"{name} {self.asked}", completed=3, pending=1)], total=1)

        if isinstance(self.answer, NoKey):
            raise self.answer
        return None if self.answer is None else SimpleNamespace(api=SimpleNamespace(batches=SimpleNamespace(page=page)))


@pytest.mark.anyio
async def test_batches_are_read_once_for_all_who_look_at_the_same_time_and_for_a_while() -> None:
    now = NOW
    accounts: Any = Accounts("ok")
    book = BatchBook(accounts, lambda: now)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(book.page, "main", 0)
    assert accounts.asked == 1
    now += timedelta(seconds=LASTS - 1)
    (line,) = (await book.page("main", 0)).lines
    assert (line.name, line.done, line.total) == ("main 1", 3, 4)
    now += timedelta(seconds=1)
    assert (await book.page("main", 0)).lines[0].name == "main 2"
    assert (await book.page("other", 0)).lines[0].name == "other 3"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "not there any more"),
        (NoKey("The connection main has no key that can be used."), "no key"),
        (RateLimited("Scale limits the rate.", next_step="Tell the person."), "Scale limits the rate."),
        (OSError("disk"), "could not be looked up"),
        ("never", "did not answer within 0 seconds"),
    ],
)
async def test_batches_that_cannot_be_read_say_why(monkeypatch: pytest.MonkeyPatch, answer: Any, said: str) -> None:
    if answer == "never":
        monkeypatch.setattr(batches, "PATIENCE", 0.0)
    accounts: Any = Accounts(answer)
    reading = await BatchBook(accounts, lambda: NOW).page("main", 0)
    assert said in (reading.problem or "")
    assert "Tell the person" not in (reading.problem or "")  # which is for agents
