"""Console tokens and checks of the trail, on both kinds of database, on a clock of the tests' own."""

from __future__ import annotations

import json
from datetime import timedelta

import anyio
import pytest
import sqlalchemy as sa

from scale_mcp.hosting.audit.chain import audit_rows
from scale_mcp.hosting.audit.checks import KEPT, SPARE, AuditChecks
from scale_mcp.hosting.audit.recorder import Recorder
from scale_mcp.hosting.audit.verification import Verification, verify
from scale_mcp.hosting.clock import stamp, utc_now
from scale_mcp.hosting.console_tokens import LONGEST_LIFE, PREFIX, ConsoleTokenProblem, ConsoleTokens
from scale_mcp.hosting.directory import Directory
from scale_mcp.hosting.store import Database
from tests.hosting.vaults import everything_in, leaks

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)


class Time:
    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self):
        return self.now

    def pass_by(self, **parts: float) -> None:
        self.now += timedelta(**parts)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def recorder(database: Database, time: Time) -> Recorder:
    return Recorder(database, time)


@pytest.fixture
def tokens(database: Database, recorder: Recorder, time: Time) -> ConsoleTokens:
    return ConsoleTokens(database, recorder, time)


async def trail(database: Database) -> list[tuple[str, str]]:
    async with database.reading() as connection:
        rows = await connection.execute(sa.select(audit_rows.c.kind, audit_rows.c.actor).order_by(audit_rows.c.seq))
        return [(row.kind, row.actor) for row in rows]


async def test_a_token_signs_in_until_it_is_revoked_and_every_step_is_in_the_trail(
    database: Database, tokens: ConsoleTokens, time: Time
) -> None:
    record, secret = await tokens.add("ada", expires_in=DAY, actor="cli:root")
    found = await tokens.sign_in(secret.get_secret_value(), peer="192.0.2.7")
    assert found is not None
    assert (found.id, found.signed_in_at) == (record.id, stamp(time.now))
    assert await tokens.of_session(record.id, stamp(time.now)) == found

    await tokens.revoke(record.id, actor="cli:root")
    await tokens.revoke(record.id, actor="cli:root")  # again: nothing
    assert await tokens.sign_in(secret.get_secret_value()) is None
    assert await tokens.of_session(record.id, stamp(time.now)) is None
    assert await trail(database) == [
        ("console.token_added", "cli:root"),
        ("console.signed_in", "console:ada"),
        ("console.token_revoked", "cli:root"),
    ]


async def test_a_token_ends_with_its_time(tokens: ConsoleTokens, time: Time) -> None:
    record, secret = await tokens.add("ada", expires_in=DAY, actor="test")
    began = stamp(time.now)
    time.pass_by(hours=23)
    assert await tokens.of_session(record.id, began) is not None
    time.pass_by(hours=1)
    assert await tokens.of_session(record.id, began) is None
    assert await tokens.sign_in(secret.get_secret_value()) is None
    assert [token.state(stamp(time.now)) for token in await tokens.list()] == ["expired"]


async def test_signing_out_ends_every_session_of_the_token_and_no_other(tokens: ConsoleTokens, time: Time) -> None:
    ada, secret = await tokens.add("ada", expires_in=DAY, actor="test")
    eve, _ = await tokens.add("eve", expires_in=DAY, actor="test")
    began = stamp(time.now)
    time.pass_by(minutes=5)
    await tokens.sign_out(ada)
    assert await tokens.of_session(ada.id, began) is None
    assert await tokens.of_session(eve.id, began) is not None
    time.pass_by(seconds=1)
    assert await tokens.sign_in(secret.get_secret_value()) is not None
    assert await tokens.of_session(ada.id, stamp(time.now)) is not None


@pytest.mark.parametrize("nonsense", ["", "x", "smcp_console_", "smcp_console_" + "A" * 43, "\udcff", "é" * 5_000])
async def test_what_is_no_token_signs_nobody_in_and_leaves_no_row(
    database: Database, tokens: ConsoleTokens, nonsense: str
) -> None:
    await tokens.add("ada", expires_in=DAY, actor="test")
    assert await tokens.sign_in(nonsense) is None
    assert len(await trail(database)) == 1


async def test_the_store_has_the_digest_of_a_token_only_and_a_persona_it_is_not(
    database: Database, tokens: ConsoleTokens
) -> None:
    _, secret = await tokens.add("ada", expires_in=DAY, actor="test")
    random = secret.get_secret_value().removeprefix(PREFIX)
    assert leaks(await everything_in(database), f"smcp_{random}") == []
    assert await Directory(database).find(secret.get_secret_value()) is None


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 65, "ada\n", "<b>"])
async def test_a_name_that_the_trail_could_not_show_is_refused(tokens: ConsoleTokens, name: str) -> None:
    with pytest.raises(ConsoleTokenProblem, match="cannot be an operator's name"):
        await tokens.add(name, expires_in=DAY, actor="test")


@pytest.mark.parametrize("life", [timedelta(0), -DAY, LONGEST_LIFE + timedelta(seconds=1)])
async def test_a_token_lives_for_a_while_and_not_for_ever(tokens: ConsoleTokens, life: timedelta) -> None:
    with pytest.raises(ConsoleTokenProblem, match="time to live"):
        await tokens.add("ada", expires_in=life, actor="test")


async def test_revoking_what_is_not_there_says_where_to_look(tokens: ConsoleTokens) -> None:
    with pytest.raises(ConsoleTokenProblem, match="console token list"):
        await tokens.revoke("ctk_nothing", actor="test")


async def test_a_check_is_remembered_and_in_the_trail(database: Database, recorder: Recorder, time: Time) -> None:
    await recorder.append("test.done", {"actor": "test"})
    checks = AuditChecks(database, recorder, time)
    begun = await checks.begin("console:ada")
    assert begun is not None
    assert await checks.last() == (begun, None)
    await checks.run(begun)
    running, ended = await checks.last()
    assert running is None
    assert ended is not None
    assert (ended.started_by, ended.rows, ended.faults, ended.problem) == ("console:ada", 1, 0, None)
    assert ended.head is not None
    assert ended.head.startswith("1:")
    assert (await trail(database))[-1] == ("audit.verified", "console:ada")
    assert (await verify(database)).holds


async def test_a_check_names_the_row_that_was_edited(database: Database, recorder: Recorder, time: Time) -> None:
    for _ in range(3):
        await recorder.append("test.done", {"actor": "test"})
    async with database.writing() as connection:
        edited = json.dumps({"actor": "nobody"})
        await connection.execute(sa.update(audit_rows).where(audit_rows.c.seq == 2).values(content=edited))
    checks = AuditChecks(database, recorder, time)
    begun = await checks.begin("console:ada")
    assert begun is not None
    await checks.run(begun)
    _, ended = await checks.last()
    assert ended is not None
    assert ended.faults == 1
    assert (ended.first_fault or "").startswith("Row 2 was edited")


async def test_one_check_runs_at_a_time_in_all_replicas_and_a_killed_one_blocks_for_a_bounded_time(
    database: Database, recorder: Recorder, time: Time
) -> None:
    here, there = (AuditChecks(database, recorder, time, longest=100.0) for _ in range(2))
    assert await here.begin("console:ada") is not None
    assert await there.begin("console:eve") is None
    time.pass_by(seconds=100 + SPARE)
    assert await there.begin("console:eve") is not None


async def test_a_check_that_takes_too_long_or_fails_says_so(database: Database, recorder: Recorder, time: Time) -> None:
    async def endless(_: Database) -> Verification:
        await anyio.sleep_forever()
        raise AssertionError

    async def broken(_: Database) -> Verification:
        raise RuntimeError("no such table")

    for examine, said in ((endless, "given up after 0 seconds"), (broken, "no such table")):
        checks = AuditChecks(database, recorder, time, examine=examine, longest=0.0)
        time.pass_by(hours=1)
        begun = await checks.begin("console:ada")
        assert begun is not None
        await checks.run(begun)
        _, ended = await checks.last()
        assert ended is not None
        assert said in (ended.problem or "")


async def test_the_latest_checks_are_kept_and_older_ones_forgotten(
    database: Database, recorder: Recorder, time: Time
) -> None:
    checks = AuditChecks(database, recorder, time)
    for _ in range(KEPT + 5):
        time.pass_by(hours=1)
        begun = await checks.begin("console:ada")
        assert begun is not None
        await checks.run(begun)
    async with database.reading() as connection:
        count = await connection.scalar(sa.text("SELECT count(*) FROM audit_checks"))
    assert count == KEPT + 1  # the oldest goes when the next one begins
