"""Connections: checked when they are added, known by fingerprints, changed without a gap, and recorded."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx2
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from scale_mcp.api import ScaleApi
from scale_mcp.hosting.connection_records import read_records, scale_keys
from scale_mcp.hosting.connection_rules import ConnectionProblem
from scale_mcp.hosting.connections import Connections
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.key_checks import OPTIONS, KeyNotChecked, KeyRefused, KeyUnusable
from scale_mcp.hosting.master_keys import new_master_key
from scale_mcp.hosting.store import Database
from scale_mcp.hosting.store.tables import revision
from scale_mcp.hosting.vault import Vault
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from tests.hosting.vaults import CANARY, SECOND, Trail, everything_in, keys_of, leaks

pytestmark = pytest.mark.anyio
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class House:
    """Connections over the sandbox, with everything around them."""

    def __init__(self, database: Database, vault: Vault, sandbox: Sandbox) -> None:
        self.database, self.vault, self.sandbox = database, vault, sandbox
        self.trail, self.clock = Trail(), HandClock()
        self.connections = self.replica()

    def replica(self) -> Connections:
        return Connections(self.database, self.vault, self.trail, clock=self.clock, open_api=self.open_api)

    def open_api(self, key: SecretStr, base_url: str) -> ScaleApi:
        return ScaleApi(key, base_url=base_url, transport=self.sandbox.transport(), options=OPTIONS)

    async def add(self, name: str = "main", key: str = CANARY, **more: Any) -> str:
        record = await self.connections.add(name, key, base_url=SANDBOX_URL, actor="ada", **more)
        return record.id

    async def revision(self) -> int:
        async with self.database.reading() as connection:
            return int((await connection.execute(sa.select(revision.c.number))).scalar_one())


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with Sandbox(SandboxOptions(clock="manual")) as sandbox:
        yield House(database, await Vault.opened(database, keys_of(new_master_key())), sandbox)


async def test_a_connection_is_added_once_scale_has_taken_its_key(house: House) -> None:
    record = await house.connections.add(
        "main", f" {CANARY}\n", base_url=f"{SANDBOX_URL}/", kind="sandbox", actor="ada"
    )

    (key,) = record.keys
    assert (record.name, record.kind, record.mode, record.base_url) == ("main", "sandbox", "live", SANDBOX_URL)
    assert (key.status, key.last_status, key.checked_at) == ("active", "ok", "2026-11-01T12:00:00.000000Z")
    assert await house.connections.get("main") == await house.connections.get(record.id) == record
    assert [(each.id, opened.get_secret_value()) for each, opened in await house.connections.keys(record.id)] == [
        (key.id, CANARY)
    ]


@pytest.mark.parametrize(("key", "kind"), [("live_me", "live"), ("test_me", "test"), ("me|test", "test")])
async def test_live_and_test_follow_from_the_key(house: House, key: str, kind: str) -> None:
    record = await house.connections.add("main", key, base_url=SANDBOX_URL, actor="ada")

    assert (record.kind, record.mode) == (kind, kind)


async def test_a_key_that_scale_refuses_is_not_stored(house: House) -> None:
    with pytest.raises(KeyRefused, match=r"Scale refuses this key; nothing was stored.*401"):
        await house.add(key="no-key-of-this-sandbox")

    assert await house.connections.list() == []
    assert house.trail.rows == []


async def test_a_key_that_cannot_be_checked_is_stored_only_when_told_so(house: House) -> None:
    nowhere = Connections(house.database, house.vault, house.trail, clock=house.clock)
    address = "http://127.0.0.1:1/v1"

    with pytest.raises(KeyNotChecked, match="add --no-check"):
        await nowhere.add("main", CANARY, base_url=address, actor="ada")
    record = await nowhere.add("main", CANARY, base_url=address, check=False, actor="ada")

    assert (record.keys[0].last_status, record.keys[0].checked_at) == ("unchecked", None)


@pytest.mark.parametrize(
    ("key", "url", "told"),
    [
        ("", SANDBOX_URL, "empty"),
        ("live_a b", SANDBOX_URL, "characters that no key has"),
        ("live_a:b", SANDBOX_URL, "characters that no key has"),
        (CANARY, "http://api.scale.com/v1", "plain http"),
        (CANARY, "https://user:secret@api.scale.com/v1", "user name or password"),
        (CANARY, "nonsense", "not an http"),
    ],
)
async def test_an_impossible_key_or_address_is_refused_before_anything_is_sent(
    house: House, key: str, url: str, told: str
) -> None:
    with pytest.raises(KeyUnusable, match=told) as refusal:
        await house.connections.add("main", key, base_url=url, actor="ada")
    assert leaks(str(refusal.value), CANARY) == []
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("name", ["", "Main", "-x", "a b", "con_x", "a" * 65, "ä", "a/b", "main\n"])
async def test_an_impossible_name_is_refused(house: House, name: str) -> None:
    with pytest.raises(ConnectionProblem, match="cannot be a connection's name"):
        await house.add(name)


async def test_a_name_is_taken_until_its_connection_is_removed(house: House) -> None:
    first = await house.add()
    with pytest.raises(ConnectionProblem, match="There is a connection main already"):
        await house.add(key=SECOND)

    await house.connections.remove("main", "ada")

    assert await house.add(key=SECOND) != first
    assert len(await house.connections.list(include_removed=True)) == 2


async def test_a_sandbox_is_on_this_machine_and_other_kinds_follow_the_key(house: House) -> None:
    with pytest.raises(ConnectionProblem, match="runs on this machine"):
        await house.connections.add("main", CANARY, kind="sandbox", actor="ada")
    with pytest.raises(ConnectionProblem, match="This is a live key"):
        await house.add(kind="test")


async def test_the_same_key_is_not_added_twice(house: House) -> None:
    await house.add()

    with pytest.raises(ConnectionProblem, match="there already, in the connection main"):
        await house.add("other")
    with pytest.raises(ConnectionProblem, match="there already, in the connection main"):
        await house.connections.add_key("main", CANARY, actor="ada")


async def test_only_one_of_many_that_add_the_same_at_once_succeeds(house: House) -> None:
    replicas = [house.replica() for _ in range(6)]
    refused: list[str] = []

    async def add(replica: Connections) -> None:
        try:
            await replica.add("main", CANARY, base_url=SANDBOX_URL, actor="ada")
        except ConnectionProblem as problem:
            refused.append(str(problem))

    async with anyio.create_task_group() as tasks:
        for replica in replicas:
            tasks.start_soon(add, replica)

    assert len(refused) == 5
    assert len((await house.connections.get("main")).keys) == 1


async def test_a_further_key_must_be_of_the_same_mode_and_account(house: House) -> None:
    await house.add(key="live_me")
    async with house.open_api(SecretStr("live_me"), SANDBOX_URL) as api:
        await api.projects.create("ours", "imageannotation")
    async with house.open_api(SecretStr("live_somebody"), SANDBOX_URL) as api:
        await api.projects.create("theirs", "imageannotation")

    with pytest.raises(KeyUnusable, match="live and test data are separate worlds"):
        await house.connections.add_key("main", "test_me", actor="ada")
    with pytest.raises(KeyRefused, match="a key of another account"):
        await house.connections.add_key("main", "live_somebody", actor="ada")
    with pytest.raises(KeyRefused, match="a key of another account"):
        await house.connections.add_key("main", "live_nobody", actor="ada")
    await house.connections.add_key("main", "live_me+2", actor="ada")

    assert len((await house.connections.get("main")).active_keys) == 2


async def test_a_new_key_comes_and_the_old_one_goes_without_a_moment_without_any(house: House) -> None:
    """Another replica takes keys all the while, and calls with them; none fails."""
    connection = await house.add(key="live_me")
    replica = house.replica()
    stop = anyio.Event()
    seen: set[str] = set()

    async def call() -> None:
        while not stop.is_set():
            found = await replica.keys(connection)
            assert found
            for record, key in found:
                async with house.open_api(key, SANDBOX_URL) as api:
                    await api.projects.list()
                await replica.used(record.id, "ok")
                seen.add(key.get_secret_value())

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(call)
        for number in range(2, 6):
            (old,) = (await house.connections.get("main")).active_keys
            await house.connections.add_key("main", f"live_me+{number}", actor="ada")
            await house.connections.retire_key("main", old.id, "ada")
        await replica.keys(connection)
        stop.set()

    (last,) = await house.connections.keys(connection)
    assert last[1].get_secret_value() == "live_me+5"
    assert len((await house.connections.get("main")).keys) == 5
    assert seen


async def test_a_retired_key_is_wiped_and_its_record_stays(house: House) -> None:
    connection = await house.add(key="live_me")
    house.clock.forward(30)
    added = await house.connections.add_key("main", "live_me+2", actor="ada")
    (old, _) = (await house.connections.get("main")).keys
    house.clock.forward(30)

    retired = await house.connections.retire_key("main", old.fingerprint, "ada")

    assert (retired.id, retired.status, retired.retired_at) == (old.id, "retired", "2026-11-01T12:01:00.000000Z")
    assert [record.id for record, _ in await house.connections.keys(connection)] == [added.id]
    async with house.database.reading() as reading:
        sealed = (await reading.execute(sa.select(scale_keys.c.sealed).where(scale_keys.c.id == old.id))).scalar_one()
    assert sealed is None


async def test_the_last_key_is_not_retired_however_many_try_at_once(house: House) -> None:
    await house.add(key="live_me")
    await house.connections.add_key("main", "live_me+2", actor="ada")
    refused: list[str] = []

    async def retire(key_id: str) -> None:
        try:
            await house.replica().retire_key("main", key_id, "ada")
        except ConnectionProblem as problem:
            refused.append(str(problem))

    async with anyio.create_task_group() as tasks:
        for key in (await house.connections.get("main")).keys:
            tasks.start_soon(retire, key.id)

    assert len(refused) == 1
    assert "This is the only key of main" in refused[0]
    assert "connection rotate main" in refused[0]


async def test_a_removed_connection_has_no_keys_and_no_secret_any_more(house: House) -> None:
    connection = await house.add()
    await house.connections.set_callback_secret("main", "hush", "ada")

    await house.connections.remove("main", "ada")

    assert await house.connections.keys(connection) == []
    assert await house.connections.callback_secret(connection) is None
    assert await house.connections.list() == []
    (gone,) = await house.connections.list(include_removed=True)
    assert gone.removed_at is not None
    assert [key.status for key in gone.keys] == ["retired"]
    for change in (house.connections.remove("main", "ada"), house.connections.retire_key("main", "x", "ada")):
        with pytest.raises(ConnectionProblem, match="There is no connection 'main'"):
            await change


async def test_a_callback_secret_is_kept_replaced_and_taken_back(house: House) -> None:
    connection = await house.add()
    found = [await house.connections.callback_secret(connection)]
    for secret in ("first-secret", SecretStr("second-secret"), None):
        await house.connections.set_callback_secret("main", secret, "ada")
        found.append(await house.connections.callback_secret(connection))

    assert [each and each.get_secret_value() for each in found] == [None, "first-secret", "second-secret", None]
    assert await house.connections.callback_secret("con_unknown") is None
    with pytest.raises(ConnectionProblem, match="cannot be a callback secret"):
        await house.connections.set_callback_secret("main", "two words", "ada")


async def test_every_change_is_recorded_with_its_actor_and_seen_by_others(house: House) -> None:
    before = await house.revision()
    connection = await house.add(key="live_me")
    added = await house.connections.add_key("main", "live_me+2", check=False, actor="bob")
    await house.connections.retire_key("main", added.id, "eve")
    await house.connections.set_callback_secret("main", "hush-hush", "ada")
    await house.connections.set_callback_secret("main", None, "ada")
    await house.connections.remove("main", "ada")

    assert house.trail.kinds == [
        "connection.added",
        "connection.key_added",
        "connection.key_retired",
        "connection.callback_secret_set",
        "connection.callback_secret_removed",
        "connection.removed",
    ]
    assert [content["actor"] for _, content in house.trail.rows] == ["ada", "bob", "eve", "ada", "ada", "ada"]
    assert {(content["connection"], content["connection_id"]) for _, content in house.trail.rows} == {
        ("main", connection)
    }
    assert house.trail.rows[1][1]["fingerprint"] == added.fingerprint
    assert await house.revision() == before + 6


async def test_a_change_that_cannot_be_recorded_is_not_made(house: House) -> None:
    connection = await house.add(key="live_me")
    before = await house.connections.get("main")
    house.trail.broken = True

    for change in (
        house.add("other", SECOND),
        house.connections.add_key("main", "live_me+2", actor="ada"),
        house.connections.set_callback_secret("main", "hush", "ada"),
        house.connections.remove("main", "ada"),
    ):
        with pytest.raises(RuntimeError):
            await change
    assert await house.connections.list() == [before]
    assert await house.connections.callback_secret(connection) is None


async def test_a_fingerprint_tells_keys_apart_and_nothing_of_them(house: House) -> None:
    keys = [f"live_aaaaaaaaaaa{number}" for number in range(20)]
    for number, key in enumerate(keys):
        await house.add(f"c{number}", key, check=False)

    fingerprints = [record.keys[0].fingerprint for record in await house.connections.list()]

    assert len(set(fingerprints)) == 20
    assert all(len(each) == 12 and set(each) <= set("0123456789abcdef") for each in fingerprints)


async def test_another_vault_gives_the_same_key_another_fingerprint(house: House, tmp_path: Any) -> None:
    await house.add(check=False)
    async with Database.opened(f"sqlite:///{tmp_path / 'other.db'}") as other:
        vault = await Vault.opened(other, keys_of(new_master_key()))
        elsewhere = await Connections(other, vault, Trail()).add("main", CANARY, check=False, actor="ada")

    assert elsewhere.keys[0].fingerprint != (await house.connections.get("main")).keys[0].fingerprint


async def test_the_uses_of_a_key_are_noted_seldom_and_its_troubles_at_once(house: House) -> None:
    await house.add()
    (key,) = (await house.connections.get("main")).keys
    before = await house.revision()
    seen = []
    for seconds, status in ((0, "ok"), (1, "ok"), (1, "limited"), (1, "ok"), (6, "ok"), (59, "ok"), (1, "ok")):
        house.clock.forward(seconds)
        await house.connections.used(key.id, status)
        (noted,) = (await house.connections.get("main")).keys
        assert noted.last_used_at is not None
        seen.append((noted.last_used_at[14:19], noted.last_status))

    assert seen == [
        ("00:00", "ok"),
        ("00:00", "ok"),
        ("00:02", "limited"),
        ("00:02", "limited"),
        ("00:09", "ok"),
        ("00:09", "ok"),
        ("01:09", "ok"),
    ]
    assert await house.revision() == before
    assert house.trail.kinds == ["connection.added"]


async def test_a_use_that_cannot_be_noted_hurts_nobody(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.add()
    (key,) = (await house.connections.get("main")).keys
    async with house.database.writing() as connection:
        await connection.execute(sa.text("ALTER TABLE scale_keys RENAME TO elsewhere"))

    await house.connections.used(key.id, "ok")

    assert "could not be noted" in caplog.text


async def test_asking_scale_about_the_keys_notes_what_it_said(house: House) -> None:
    await house.add(key="live_me")
    house.clock.forward(10)
    await house.connections.add_key("main", "unknown-to-the-sandbox", check=False, actor="ada")
    house.clock.forward(20)

    found = await house.connections.check("main")

    assert [finding.status for _, finding in found] == ["ok", "refused"]
    assert "401" in found[1][1].words
    noted = (await house.connections.get("main")).keys
    assert [(key.last_status, key.checked_at) for key in noted] == [
        ("ok", "2026-11-01T12:00:30.000000Z"),
        ("refused", "2026-11-01T12:00:30.000000Z"),
    ]


async def test_records_are_read_without_a_vault(house: House) -> None:
    await house.add()

    async with house.database.reading() as connection:
        assert await read_records(connection) == await house.connections.list()


@pytest.mark.parametrize("mode", ["401", "500", "echo", "drop", "html"])
async def test_however_the_check_fails_the_key_is_nowhere(
    database: Database, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Scale's answer echoes what it was sent; nothing of it stays in words, logs, dumps with locals or the database."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        echoed = f"{request.headers['authorization']} {CANARY}"
        if mode == "drop":
            raise httpx2.ReadError(f"lost {echoed}", request=request)
        if mode == "html":
            return httpx2.Response(200, html=f"<p>{echoed}</p>")
        return httpx2.Response({"401": 401, "500": 500, "echo": 418}[mode], json={"message": echoed})

    def open_api(key: SecretStr, base_url: str) -> ScaleApi:
        return ScaleApi(key, base_url=base_url, transport=httpx2.MockTransport(answer), options=OPTIONS)

    caplog.set_level("DEBUG")
    master = new_master_key()
    vault = await Vault.opened(database, keys_of(master))
    connections = Connections(database, vault, Trail(), open_api=open_api)
    key = SecretStr(CANARY)

    with pytest.raises(OperatorError) as failure:
        await connections.add("main", key, actor="ada")

    frames = traceback.TracebackException.from_exception(failure.value, capture_locals=True)
    ours = [frame for frame in frames.stack if "scale_mcp" in frame.filename]
    assert ours
    shown = "".join([str(failure.value), repr(failure.value), caplog.text, repr(connections), repr(vars(connections))])
    shown += "".join(str(frame.locals) for frame in ours)
    assert leaks(shown, CANARY) == []
    assert leaks(await everything_in(database), CANARY) == []
