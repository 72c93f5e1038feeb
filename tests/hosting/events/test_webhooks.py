"""Webhooks: kept sealed and audited, delivered signed and once, tried again on the clock, over real sockets."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from scale_mcp.hosting.connection_records import connections as connection_table
from scale_mcp.hosting.events.facts import Facts
from scale_mcp.hosting.events.leases import Leases
from scale_mcp.hosting.events.log import EventLog
from scale_mcp.hosting.events.outbound import DELIVERY, SIGNATURE, Outbound, is_genuine, sign
from scale_mcp.hosting.events.sender import LEASE, MOST_TRIES, Sender
from scale_mcp.hosting.events.tables import deliveries, delivery_attempts
from scale_mcp.hosting.events.targets import TargetRefused, target_of
from scale_mcp.hosting.events.webhook_records import Webhook
from scale_mcp.hosting.events.webhooks import WebhookProblem, Webhooks
from scale_mcp.hosting.master_keys import new_master_key
from scale_mcp.hosting.store import Database
from scale_mcp.hosting.vault import Vault
from tests.hosting.vaults import Trail, everything_in, keys_of

pytestmark = pytest.mark.anyio


MASTER = new_master_key()


@dataclass
class Hand:
    """A clock that is moved by hand."""

    time: datetime = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class Receiver:
    """A web server that keeps what it gets, and answers with the next of its statuses, then 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((headers, body))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    @property
    def bodies(self) -> list[dict[str, str]]:
        return [json.loads(body) for _, body in self.got]


@asynccontextmanager
async def receiving(*statuses: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(statuses=list(statuses))
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield receiver


@dataclass
class House:
    """The parts of the webhooks over one database."""

    database: Database
    clock: Hand
    vault: Vault
    trail: Trail
    events: EventLog
    webhooks: Webhooks
    sender: Sender

    async def add(self, receiver: Receiver, name: str = "ops", **fields: object) -> tuple[Webhook, SecretStr]:
        webhook = Webhook(name, receiver.url, private_host="127.0.0.1", **fields)  # type: ignore[arg-type]
        return await self.webhooks.add(webhook, actor="cli:ada")

    async def happen(self, *names: str, connection: str = "con_a", project: str | None = "streets") -> None:
        facts = [
            Facts("task", name, "completed", completed_at="2026-01-01T00:00:00Z", project=project) for name in names
        ]
        await self.events.note(connection, facts)

    async def states(self) -> list[tuple[str, int]]:
        async with self.database.reading() as connection:
            query = sa.select(deliveries.c.state, deliveries.c.attempts).order_by(deliveries.c.position)
            return [(row.state, row.attempts) for row in await connection.execute(query)]


def house_over(database: Database, clock: Hand, vault: Vault, outbound: Outbound) -> House:
    trail = Trail()
    events = EventLog(database, clock=clock)
    webhooks = Webhooks(database, vault, trail, clock=clock)
    sender = Sender(database, events, webhooks, outbound, clock=clock)
    return House(database, clock, vault, trail, events, webhooks, sender)


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    clock = Hand()
    vault = await Vault.opened(database, keys_of(MASTER))
    async with database.writing() as connection:
        for identity, name in (("con_a", "main"), ("con_b", "other")):
            row = {"id": identity, "name": name, "kind": "test", "mode": "test", "base_url": "x", "created_at": "x"}
            await connection.execute(sa.insert(connection_table).values(row))
    async with Outbound() as outbound:
        yield house_over(database, clock, vault, outbound)


async def test_an_event_is_delivered_signed_and_says_no_more_than_what_happened(house: House) -> None:
    async with receiving() as receiver:
        _, secret = await house.add(receiver)
        await house.happen("t1")
        await house.sender.send_due()
        await house.sender.send_due()

    ((headers, body),) = receiver.got
    sent = json.loads(body)
    assert sent.pop("id") == headers[DELIVERY]
    assert sent == {
        "kind": "completed",
        "at": "2026-01-01T00:00:00Z",
        "connection": "main",
        "task_id": "t1",
        "project": "streets",
        "status": "completed",
    }
    now = int(house.clock().timestamp())
    assert is_genuine(headers[SIGNATURE], body, secret, now)
    assert headers["content-type"] == "application/json"
    assert await house.states() == [("delivered", 1)]


def test_a_signature_holds_for_one_body_one_secret_and_a_few_minutes() -> None:
    secret, body = SecretStr("whsec_right"), b'{"kind":"completed"}'
    header = sign(body, secret, 1_000_000)

    assert header == "t=1000000,v1=" + header[-64:]
    assert is_genuine(header, body, secret, 1_000_200)
    assert not is_genuine(header, body, secret, 1_000_400)
    assert not is_genuine(header, body, secret, 999_000)
    assert not is_genuine(header, body + b" ", secret, 1_000_000)
    assert not is_genuine(header, body, SecretStr("whsec_wrong"), 1_000_000)
    assert not is_genuine(header.replace("t=1000000", "t=1000001"), body, secret, 1_000_000)
    assert not is_genuine("v1=" + header[-64:], body, secret, 1_000_000)


async def test_a_receiver_that_fails_is_tried_again_later_each_time(house: House) -> None:
    async with receiving(500, 302, 429) as receiver:
        await house.add(receiver)
        await house.happen("t1")
        await house.sender.send_due()
        for pause in (2, 4, 8):
            house.clock.advance(pause - 0.5)
            before = len(receiver.got)
            await house.sender.send_due()
            assert len(receiver.got) == before
            house.clock.advance(0.5)
            await house.sender.send_due()
            assert len(receiver.got) == before + 1

    assert await house.states() == [("delivered", 4)]
    assert len({headers[DELIVERY] for headers, _ in receiver.got}) == 1  # a receiver can tell a repetition
    async with house.database.reading() as connection:
        rows = (await connection.execute(sa.select(delivery_attempts).order_by(delivery_attempts.c.at))).all()
    assert [row.status for row in rows] == [500, 302, 429, 200]
    assert [row.problem for row in rows] == [*(f"the receiver answered {code}" for code in (500, 302, 429)), None]
    (record,) = await house.webhooks.recent()
    assert (record.webhook, record.state, record.attempts, record.status) == ("ops", "delivered", 4, 200)


async def test_after_twenty_tries_a_delivery_is_given_up(house: House) -> None:
    async with receiving() as receiver:
        await house.add(receiver)
    await house.happen("t1")  # nobody listens any more
    waited = timedelta()
    for _ in range(MOST_TRIES + 3):
        await house.sender.send_due()
        house.clock.advance(1_800)
        waited += timedelta(seconds=1_800)

    assert await house.states() == [("failed", MOST_TRIES)]
    (record,) = await house.webhooks.recent()
    assert "no answer" in str(record.problem)


async def test_a_webhook_gets_what_it_asks_for(house: House) -> None:
    async with receiving() as receiver:
        await house.add(receiver, "all")
        await house.add(receiver, "narrow", kinds=("error",), connections=("main",), projects=("streets",))
        await house.add(receiver, "off", disabled=True)
        await house.happen("t1")
        await house.happen("t2", connection="con_b")
        wrong = [
            ("con_a", Facts("task", "t3", "error", project="lanes")),
            ("con_b", Facts("task", "t4", "error", project="streets")),
        ]
        for connection, fact in wrong:
            await house.events.note(connection, [fact])
        await house.events.note("con_a", [Facts("task", "t5", "error", project="streets")])
        await house.sender.send_due()

    assert sorted(body["task_id"] for body in receiver.bodies) == ["t1", "t2", "t3", "t4", "t5", "t5"]
    assert {body["connection"] for body in receiver.bodies} == {"main", "other"}


async def test_two_replicas_deliver_each_event_once_and_in_order(house: House, database_url: str) -> None:
    async with receiving() as receiver, Database.opened(database_url) as another, Outbound() as outbound:
        other = house_over(another, house.clock, house.vault, outbound)
        await house.add(receiver)
        names = [f"t{i}" for i in range(20)]
        await house.happen(*names)
        async with anyio.create_task_group() as tasks:
            for replica in (house, other):
                tasks.start_soon(replica.sender.send_due)

    assert sorted(body["task_id"] for body in receiver.bodies) == sorted(names)
    assert await house.states() == [("delivered", 1)] * 20


async def test_what_a_crashed_replica_had_claimed_is_sent_by_another(house: House) -> None:
    async with receiving() as receiver:
        await house.add(receiver)
        await house.happen("t1")
        await Leases(house.database, deliveries, length=LEASE, clock=house.clock).claim(10)
        await house.sender.send_due()
        assert receiver.got == []
        house.clock.advance(LEASE.total_seconds() + 1)
        await house.sender.send_due()
    assert [body["task_id"] for body in receiver.bodies] == ["t1"]


async def test_a_receiver_that_hangs_holds_up_nobody_else(house: House) -> None:
    """While the one does not answer, the other gets everything."""
    release = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    silent = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with receiving() as receiver, silent:
        stuck = Receiver(url=f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/")
        await house.add(stuck, "a-stuck")
        await house.add(receiver, "b-fine")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(house.sender.run, 0.01)
            await house.happen(*(f"t{i}" for i in range(9)))
            while len(receiver.got) < 9:
                await anyio.lowlevel.checkpoint()
            await house.happen("late")
            while len(receiver.got) < 10:
                await anyio.lowlevel.checkpoint()
            release.set()
            tasks.cancel_scope.cancel()
    assert {body["task_id"] for body in receiver.bodies} == {"late", *(f"t{i}" for i in range(9))}


async def test_a_removed_webhook_takes_what_is_on_its_way_along(house: House) -> None:
    async with receiving() as receiver:
        webhook, _ = await house.add(receiver)
        await house.happen("t1")
        await house.webhooks.remove("ops", actor="cli:ada")
        await house.sender.send_due()
        assert receiver.got == []
    assert await house.states() == []
    with pytest.raises(WebhookProblem, match="no webhook"):
        await house.webhooks.get(webhook.id)


async def test_a_try_of_a_webhook_says_what_became_of_it(house: House) -> None:
    async with receiving(503) as receiver:
        webhook, secret = await house.add(receiver)
        assert (await house.sender.test(webhook)).problem == "the receiver answered 503"
        assert (await house.sender.test(webhook)).delivered
    assert [body["kind"] for body in receiver.bodies] == ["test", "test"]
    assert is_genuine(receiver.got[0][0][SIGNATURE], receiver.got[0][1], secret, int(house.clock().timestamp()))
    assert await house.states() == []


async def test_every_change_is_in_the_trail_and_the_secret_is_nowhere(house: House) -> None:
    async with receiving() as receiver:
        receiver.url += "?token=hidden"
        webhook, secret = await house.add(receiver)
        await house.webhooks.edit("ops", replace(webhook, disabled=True), actor="cli:ada")
        second = await house.webhooks.new_secret("ops", actor="cli:ada")
        await house.webhooks.remove("ops", actor="cli:ada")
    assert house.trail.kinds == ["webhook.added", "webhook.edited", "webhook.secret_changed", "webhook.removed"]
    assert "hidden" not in json.dumps(house.trail.rows)
    everything = await everything_in(house.database) + json.dumps(house.trail.rows).encode()
    for hidden in (secret, second):
        assert hidden.get_secret_value().encode() not in everything


async def test_a_change_that_cannot_be_audited_is_not_made(house: House) -> None:
    house.trail.broken = True
    async with receiving() as receiver:
        with pytest.raises(RuntimeError):
            await house.add(receiver)
    assert await house.webhooks.list() == []


async def test_rotating_the_master_key_keeps_the_secret(house: House) -> None:
    async with receiving() as receiver:
        webhook, secret = await house.add(receiver)
    new = new_master_key()
    rotating = await Vault.opened(house.database, keys_of(new, MASTER))
    assert await rotating.rotate("cli:ada", recorder=house.trail) >= 1

    with_new_alone = await Vault.opened(house.database, keys_of(new))
    webhooks = Webhooks(house.database, with_new_alone, house.trail, clock=house.clock)
    assert await webhooks.secret(webhook.id) == secret


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "Has Spaces"}, "cannot be a webhook's name"),
        ({"name": "whk_x"}, "cannot be a webhook's name"),
        ({"kinds": ("finished",)}, "no events of the kind"),
        ({"connections": ("nope",)}, "no connection 'nope'; there are main, other"),
        ({"url": "https://10.0.0.1/"}, "not a public address"),
        ({"url": "http://example.com/"}, "must be https"),
    ],
)
async def test_a_webhook_that_cannot_be_is_refused_with_the_cure(
    house: House, change: dict[str, object], told: str
) -> None:
    webhook = replace(Webhook("ops", "https://example.com/hook"), **change)  # type: ignore[arg-type]
    with pytest.raises((WebhookProblem, TargetRefused), match=told):
        await house.webhooks.add(webhook, actor="cli:ada")
    assert await house.webhooks.list() == []


async def test_a_name_is_given_once_and_a_secret_is_long_enough(house: House) -> None:
    webhook = Webhook("ops", "https://example.com/hook")
    with pytest.raises(WebhookProblem, match="too short"):
        await house.webhooks.add(webhook, secret=SecretStr("short"), actor="cli:ada")
    await house.webhooks.add(webhook, secret=SecretStr("long enough to be one"), actor="cli:ada")
    with pytest.raises(WebhookProblem, match="already"):
        await house.webhooks.add(webhook, actor="cli:ada")


async def test_the_certificate_must_be_the_hosts(tmp_path: Path) -> None:
    from tests.hosting.events.certificates import certificate_for

    authority, chain = certificate_for("hooks.internal", tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(chain)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    trust = ssl.create_default_context(cafile=str(authority))
    async with receiving(tls=tls) as receiver, Outbound(resolve_host=resolve, trust=trust) as outbound:
        port = receiver.url.split(":")[2].split("/")[0]
        right = target_of(f"https://hooks.internal:{port}/x", "hooks.internal")
        wrong = target_of(f"https://other.internal:{port}/x", "other.internal")
        assert (await outbound.post(right, b"{}", {})).delivered
        assert "certificate" in str((await outbound.post(wrong, b"{}", {})).problem).lower()
    async with receiving(tls=tls) as receiver, Outbound(resolve_host=resolve) as outbound:
        port = receiver.url.split(":")[2].split("/")[0]
        unknown = target_of(f"https://hooks.internal:{port}/x", "hooks.internal")
        assert not (await outbound.post(unknown, b"{}", {})).delivered
    assert len(receiver.got) == 0
