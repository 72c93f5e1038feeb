"""The vault: nothing without its master key, nothing in another's place, and a rotation that nobody notices."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import SecretStr

from scale_mcp.hosting import envelope
from scale_mcp.hosting.connection_records import connections, scale_keys
from scale_mcp.hosting.connections import Connections
from scale_mcp.hosting.envelope import Envelope, NotAuthentic
from scale_mcp.hosting.master_key_places import FilePlace, forget, put_first
from scale_mcp.hosting.master_keys import MasterKeys, VaultError, new_master_key
from scale_mcp.hosting.store import Database
from scale_mcp.hosting.vault import DAMAGED, Vault, vault
from tests.hosting.vaults import CANARY, SECOND, Trail, everything_in, keys_of, leaks

pytestmark = pytest.mark.anyio
OLD, NEW = new_master_key(), new_master_key()


@pytest.fixture
async def opened(database: Database) -> Vault:
    return await Vault.opened(database, keys_of(OLD))


async def with_keys(database: Database, opened: Vault, *keys: str) -> Connections:
    """One connection per key, named c0, c1, …, each with a callback secret."""
    made = Connections(database, opened, Trail())
    for number, key in enumerate(keys):
        await made.add(f"c{number}", key, check=False, actor="ada")
        await made.set_callback_secret(f"c{number}", f"callback-{key}", "ada")
    return made


async def sealed_texts(database: Database) -> list[str]:
    async with database.reading() as connection:
        found = [
            (await connection.execute(sa.select(column).where(column.is_not(None)))).scalars().all()
            for column in (vault.c.root, scale_keys.c.sealed, connections.c.callback_secret)
        ]
    return [text for texts in found for text in texts]


async def test_what_was_sealed_opens_for_its_row_and_purpose(opened: Vault) -> None:
    sealed = opened.seal(CANARY, row="key_a", purpose="scale key")

    assert opened.open(sealed, row="key_a", purpose="scale key").get_secret_value() == CANARY
    assert leaks(sealed, CANARY) == []


async def test_one_secret_is_never_sealed_to_the_same_text_twice(opened: Vault) -> None:
    texts = {opened.seal(CANARY, row="key_a", purpose="scale key") for _ in range(50)}

    parts = {part for text in texts for part in text.split(".")[2:]}
    assert len(parts) == 100


@pytest.mark.parametrize(("row", "purpose"), [("key_b", "scale key"), ("key_a", "callback secret"), ("", "")])
async def test_what_was_moved_to_another_row_or_purpose_does_not_open(opened: Vault, row: str, purpose: str) -> None:
    sealed = opened.seal(CANARY, row="key_a", purpose="scale key")

    with pytest.raises(VaultError, match="changed or moved"):
        opened.open(sealed, row=row, purpose=purpose)


def bent(text: str, part: int, at: float) -> str:
    """The text with one bit of a part's bytes turned over."""
    parts = text.split(".")
    content = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
    content[int(at * (len(content) - 1))] ^= 1
    parts[part] = base64.urlsafe_b64encode(bytes(content)).decode().rstrip("=")
    return ".".join(parts)


@settings(max_examples=60)
@given(part=some.sampled_from([2, 3]), at=some.floats(0, 1))
def test_no_bit_can_be_turned_over_unnoticed(part: int, at: float) -> None:
    sealed = str(envelope.seal(SecretStr(CANARY), OLD, "key_a", "scale key"))

    with pytest.raises(NotAuthentic):
        envelope.unseal(Envelope.read(bent(sealed, part, at)), OLD, "key_a", "scale key")


@settings(max_examples=100)
@given(secret=some.text(max_size=200), row=some.text(max_size=20), purpose=some.text(max_size=20))
def test_any_text_survives_sealing_rewrapping_and_opening(secret: str, row: str, purpose: str) -> None:
    sealed = envelope.seal(SecretStr(secret), OLD, row, purpose)

    rewrapped = Envelope.read(str(envelope.rewrap(sealed, OLD, NEW)))

    assert envelope.unseal(rewrapped, NEW, row, purpose).get_secret_value() == secret
    assert rewrapped.content == sealed.content
    with pytest.raises(NotAuthentic):
        envelope.unseal(rewrapped, OLD, row, purpose)


@pytest.mark.parametrize("text", ["", "v1", "v1.a.b", "v2.mk.AAAA.AAAA", "v1.mk.é.AAAA", "v1.mk..", "v1.mk.AA.AA", "x"])
async def test_what_the_vault_did_not_write_does_not_open(opened: Vault, text: str) -> None:
    text = text.replace("mk", OLD.id)

    with pytest.raises(VaultError, match="changed or moved"):
        opened.open(text, row="key_a", purpose="scale key")


async def test_parts_of_two_secrets_make_no_third(opened: Vault) -> None:
    one, two = (opened.seal(key, row="key_a", purpose="scale key").split(".") for key in (CANARY, SECOND))

    with pytest.raises(VaultError):
        opened.open(".".join([*one[:3], two[3]]), row="key_a", purpose="scale key")


async def test_the_database_holds_nothing_of_a_key_or_a_master_key(database: Database, opened: Vault) -> None:
    made = await with_keys(database, opened, CANARY)
    await made.add_key("c0", SECOND, check=False, actor="ada")
    await opened.rotate("ada", recorder=Trail())

    content = await everything_in(database)

    master = OLD.written.get_secret_value().partition(":")[2]
    assert b"c0" in content
    assert b"v1." in content
    assert leaks(content, CANARY, SECOND, master) == []
    assert base64.urlsafe_b64decode(master + "=")[:8] not in content


async def test_the_vault_without_its_master_key_stays_closed_and_says_which_is_missing(
    database: Database, opened: Vault
) -> None:
    await with_keys(database, opened, CANARY)

    with pytest.raises(VaultError) as refused:
        await Vault.opened(database, keys_of(NEW))

    told = str(refused.value)
    assert f"3 of its secrets are sealed with the master key '{OLD.id}'" in told
    assert "Put it there, behind the current one" in told
    assert leaks(told, CANARY, NEW.written.get_secret_value().partition(":")[2]) == []


async def test_another_key_under_the_same_name_is_not_taken_for_the_right_one(
    database: Database, opened: Vault
) -> None:
    await with_keys(database, opened, CANARY)
    impostor = new_master_key()
    impostor.id = OLD.id

    with pytest.raises(VaultError, match="is not the one by this name"):
        await Vault.opened(database, keys_of(impostor))
    with pytest.raises(VaultError, match="is not the one by this name"):
        await Vault.opened(database, keys_of(NEW, impostor))


async def test_a_refused_master_key_leaves_no_trace(database: Database, opened: Vault) -> None:
    with pytest.raises(VaultError):
        await Vault.opened(database, keys_of(NEW))

    again = await Vault.opened(database, keys_of(OLD))
    assert [(each.id, each.secrets) for each in await again.status()] == [(OLD.id, 1)]


async def test_swapped_keys_are_refused_by_name_and_the_others_still_open(database: Database, opened: Vault) -> None:
    made = await with_keys(database, opened, CANARY, SECOND, "test_other|test")
    ids = {record.name: (record.id, record.keys[0].id) for record in await made.list()}
    async with database.writing() as connection:
        stolen = (
            await connection.execute(sa.select(scale_keys.c.sealed).where(scale_keys.c.id == ids["c0"][1]))
        ).scalar_one()
        await connection.execute(sa.update(scale_keys).where(scale_keys.c.id == ids["c1"][1]).values(sealed=stolen))

    with pytest.raises(VaultError, match=f"The secret of {ids['c1'][1]} in the vault was changed or moved"):
        await made.keys(ids["c1"][0])
    assert (await made.keys(ids["c0"][0]))[0][1].get_secret_value() == CANARY
    assert (await made.keys(ids["c2"][0]))[0][1].get_secret_value() == "test_other|test"


async def test_a_callback_secret_does_not_pass_for_a_key(database: Database, opened: Vault) -> None:
    made = await with_keys(database, opened, CANARY)
    (record,) = await made.list()
    async with database.writing() as connection:
        found = (await connection.execute(sa.select(connections.c.callback_secret))).scalar_one()
        await connection.execute(sa.update(scale_keys).values(sealed=found))

    with pytest.raises(VaultError, match="changed or moved"):
        await made.keys(record.id)


async def test_rotation_rewraps_everything_and_the_old_master_key_is_not_needed_any_more(
    database: Database, opened: Vault
) -> None:
    made = await with_keys(database, opened, CANARY, SECOND)
    before = [Envelope.read(text) for text in await sealed_texts(database)]
    trail = Trail()
    both = await Vault.opened(database, keys_of(NEW, OLD))

    assert await both.rotate("ada", recorder=trail) == 5

    after = [Envelope.read(text) for text in await sealed_texts(database)]
    assert {each.master_id for each in before} == {OLD.id}
    assert {each.master_id for each in after} == {NEW.id}
    assert not {each.wrapped_key for each in before} & {each.wrapped_key for each in after}
    assert trail.rows == [("vault.rotated", {"actor": "ada", "master_key_id": NEW.id, "rewrapped": 5})]
    alone = await Vault.opened(database, keys_of(NEW))
    opened_keys = [await Connections(database, alone, Trail()).keys(each.id) for each in await made.list()]
    assert [key.get_secret_value() for ((_, key),) in opened_keys] == [CANARY, SECOND]


async def test_rotating_twice_does_nothing_the_second_time(database: Database, opened: Vault) -> None:
    await with_keys(database, opened, CANARY)
    both = await Vault.opened(database, keys_of(NEW, OLD))

    assert [await both.rotate("ada", recorder=Trail()) for _ in range(2)] == [3, 0]


async def test_a_rotation_that_cannot_be_recorded_is_undone(database: Database, opened: Vault) -> None:
    await with_keys(database, opened, CANARY)
    before = await sealed_texts(database)
    trail = Trail()
    trail.broken = True
    both = await Vault.opened(database, keys_of(NEW, OLD))

    with pytest.raises(RuntimeError):
        await both.rotate("ada", recorder=trail)
    assert await sealed_texts(database) == before


async def test_keys_open_and_come_and_go_while_the_vault_is_rotated_to_and_fro(
    database: Database, opened: Vault
) -> None:
    names = [f"live_key{number}" for number in range(6)]
    made = await with_keys(database, opened, *names)
    records = {record.name: record.id for record in await made.list()}
    there_and_back = [await Vault.opened(database, keys_of(*order)) for order in ((NEW, OLD), (OLD, NEW))]
    server = Connections(database, await Vault.opened(database, keys_of(OLD, NEW)), Trail())
    stop = anyio.Event()
    rounds = 0

    async def use(name: str, expected: str) -> None:
        nonlocal rounds
        while not stop.is_set():
            assert (await server.keys(records[name]))[0][1].get_secret_value() == expected
            secret = await server.callback_secret(records[name])
            assert secret is not None
            assert secret.get_secret_value() == f"callback-{expected}"
            rounds += 1

    async def change() -> None:
        for number in range(6):
            added = await server.add_key("c0", f"live_more{number}", check=False, actor="ada")
            await server.retire_key("c0", added.id, "ada")

    async with anyio.create_task_group() as tasks:
        for number, key in enumerate(names):
            tasks.start_soon(use, f"c{number}", key)
        async with anyio.create_task_group() as writers:
            writers.start_soon(change)
            for which in (0, 1) * 3:
                await there_and_back[which].rotate("ada", recorder=Trail())
        stop.set()

    assert rounds >= len(names)
    last = await Vault.opened(database, keys_of(NEW, OLD))
    await last.rotate("ada", recorder=Trail())
    assert [status.secrets for status in await last.status()] == [13, 0]


async def test_a_server_that_runs_takes_a_new_master_key_from_the_file_by_itself(
    database: Database, tmp_path: Path
) -> None:
    def place() -> FilePlace:
        return FilePlace(str(tmp_path / "master.keys"))

    put_first(place(), OLD)
    running = await Vault.opened(database, MasterKeys(place()))
    server = await with_keys(database, running, CANARY)
    (record,) = await server.list()

    put_first(place(), NEW)
    operator = await Vault.opened(database, MasterKeys(place()))
    assert await operator.rotate("ada", recorder=Trail()) == 3

    assert (await server.keys(record.id))[0][1].get_secret_value() == CANARY


async def test_nothing_is_sealed_with_a_master_key_that_was_given_up(database: Database, tmp_path: Path) -> None:
    place = FilePlace(str(tmp_path / "master.keys"))
    put_first(place, OLD)
    running = await Vault.opened(database, MasterKeys(FilePlace(str(place.path))))
    put_first(place, NEW)
    await (await Vault.opened(database, MasterKeys(place))).rotate("ada", recorder=Trail())
    forget(place, OLD.id)

    assert Envelope.read(running.seal("x", row="r", purpose="p")).master_id == NEW.id

    place.path.unlink()
    with pytest.raises(VaultError, match="There is no master key"):
        running.seal("x", row="r", purpose="p")


async def test_derived_secrets_outlast_rotation_and_are_the_same_in_every_replica(
    database: Database, opened: Vault
) -> None:
    both = await Vault.opened(database, keys_of(NEW, OLD))
    before = opened.derive("cursors")
    await both.rotate("ada", recorder=Trail())

    replica = await Vault.opened(database, keys_of(NEW))

    assert before == both.derive("cursors") == replica.derive("cursors")
    assert len(before) == 32
    assert before != replica.derive("sessions")


async def test_two_vaults_derive_different_secrets(tmp_path: Path) -> None:
    derived = set()
    for name in "ab":
        async with Database.opened(f"sqlite:///{tmp_path / name}.db") as database:
            derived.add((await Vault.opened(database, keys_of(OLD))).derive("cursors"))

    assert len(derived) == 2


async def test_replicas_that_start_together_make_one_vault(database: Database) -> None:
    derived: list[bytes] = []

    async def start() -> None:
        derived.append((await Vault.opened(database, keys_of(OLD, NEW))).derive("cursors"))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(start)

    assert len(derived) == 8
    assert len(set(derived)) == 1


async def test_status_names_what_is_needed_what_is_missing_and_what_was_damaged(
    database: Database, opened: Vault
) -> None:
    await with_keys(database, opened, CANARY, SECOND)
    both = await Vault.opened(database, keys_of(NEW, OLD))
    async with database.writing() as connection:
        await connection.execute(
            sa.update(connections).where(connections.c.name == "c1").values(callback_secret="gone")
        )

    found = {each.id: (each.known, each.current, each.secrets) for each in await both.status()}

    assert found == {NEW.id: (True, True, 0), OLD.id: (True, False, 4), DAMAGED: (False, False, 1)}


async def test_one_damaged_secret_does_not_keep_the_vault_closed_but_stops_a_rotation(
    database: Database, opened: Vault
) -> None:
    made = await with_keys(database, opened, CANARY, SECOND)
    async with database.writing() as connection:
        await connection.execute(
            sa.update(connections).where(connections.c.name == "c1").values(callback_secret="gone")
        )

    both = await Vault.opened(database, keys_of(NEW, OLD))

    with pytest.raises(VaultError, match="The secret of connections in the vault was changed"):
        await both.rotate("ada", recorder=Trail())
    assert [Envelope.read(text).master_id for text in await sealed_texts(database) if text != "gone"] == [OLD.id] * 4
    await made.set_callback_secret("c1", "another", "ada")
    assert await both.rotate("ada", recorder=Trail()) == 5


async def test_no_representation_and_no_dump_of_a_failure_shows_a_secret(database: Database, opened: Vault) -> None:
    sealed = opened.seal(SecretStr(CANARY), row="key_a", purpose="scale key")
    failures: list[Callable[[], object]] = [
        lambda: opened.open(sealed, row="key_b", purpose="scale key"),
        lambda: opened.open(sealed[:-4], row="key_a", purpose="scale key"),
        lambda: opened.open(sealed.replace(OLD.id, NEW.id), row="key_a", purpose="scale key"),
    ]
    shown = [f"{opened!r} {opened} {vars(opened)!r} {opened.open(sealed, row='key_a', purpose='scale key')!r}"]
    for fail in failures:
        try:
            fail()
        except VaultError as problem:
            with_locals = traceback.TracebackException.from_exception(problem, capture_locals=True)
            shown.append("".join(with_locals.format()).replace(repr(sealed), ""))
    text = "\n".join(shown)

    assert len(shown) == 4
    assert leaks(text, CANARY, OLD.written.get_secret_value().partition(":")[2]) == []
    assert opened._root.get_secret_value() not in text
