"""Callbacks over real HTTP: their bodies and headers, retries on the clock, the outbox, and hosts left alone."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import SANDBOX_URL, Sandbox
from scale_mcp.sandbox.callbacks import RETRY_DELAYS
from tests.sandbox.calls import batch, ok, project, refused, task
from tests.sandbox.conftest import Connect
from tests.sandbox.receiver import receiving

pytestmark = pytest.mark.anyio
DAY = 86_400.0


@pytest.fixture
async def tester(connect: Connect) -> httpx2.AsyncClient:
    return connect("test_callbacks")


def attempts(sandbox: Sandbox) -> list[Any]:
    sql = "SELECT * FROM callback_attempts a JOIN deliveries d ON d.id = a.delivery_id ORDER BY a.id"
    return [dict(row) for row in sandbox.store.query(sql)]


async def test_a_completed_task_calls_back_with_itself(sandbox: Sandbox, tester: httpx2.AsyncClient) -> None:
    async with receiving() as receiver:
        made = await task(tester, "videoannotation", callback_url=receiver.url)
        await sandbox.settle()
        (body,), (headers,) = receiver.bodies, receiver.headers
        assert body == {"task_id": made["task_id"], "status": "completed", "response": made["response"], "task": made}
        assert body["response"]["annotations"]["url"].startswith(SANDBOX_URL)
        assert headers["scale-callback-auth"] == "sandbox-callback-auth"
        assert headers["content-type"] == "application/json"
        shown = await ok(tester.get(f"/task/{made['task_id']}"))
        assert shown["callback_succeeded"] is True


async def test_a_failed_callback_is_tried_again_on_the_clock(sandbox: Sandbox, tester: httpx2.AsyncClient) -> None:
    async with receiving(500, 302) as receiver:
        made = await task(tester, callback_url=receiver.url)
        await sandbox.settle()
        assert (await ok(tester.get(f"/task/{made['task_id']}")))["callback_succeeded"] is False
        await sandbox.advance(RETRY_DELAYS[0] - 1)
        assert len(receiver.bodies) == 1
        await sandbox.advance(1)
        assert len(receiver.bodies) == 2
        await sandbox.advance(DAY)
        assert (await ok(tester.get(f"/task/{made['task_id']}")))["callback_succeeded"] is True
    tries = attempts(sandbox)
    assert [each["status"] for each in tries] == [500, 302, 200]
    waits = [later["at"] - earlier["at"] for earlier, later in itertools.pairwise(tries)]
    assert waits == pytest.approx(RETRY_DELAYS[:2])


async def test_after_twenty_retries_within_a_day_it_is_given_up(sandbox: Sandbox, tester: httpx2.AsyncClient) -> None:
    made = await task(tester, callback_url="http://127.0.0.1:9/nobody-listens")
    await sandbox.advance(DAY)
    tries = attempts(sandbox)
    assert len(tries) == 21
    assert {each["state"] for each in tries} == {"failed"}
    assert tries[-1]["at"] - tries[0]["at"] <= DAY
    assert (await ok(tester.get(f"/task/{made['task_id']}")))["callback_succeeded"] is False
    await sandbox.advance(DAY)
    assert len(attempts(sandbox)) == 21


async def test_a_host_off_the_list_is_never_contacted(sandbox: Sandbox, tester: httpx2.AsyncClient) -> None:
    made = await task(tester, callback_url="http://www.example.com/callback")
    await sandbox.advance(DAY)
    (skipped,) = attempts(sandbox)
    assert (skipped["state"], skipped["skipped"], skipped["delivered"]) == ("skipped", 1, 0)
    assert "callback_succeeded" not in await ok(tester.get(f"/task/{made['task_id']}"))


async def test_an_address_of_a_person_gets_a_mail_in_the_outbox(sandbox: Sandbox, tester: httpx2.AsyncClient) -> None:
    made = await task(tester, callback_url="ann@example.com")
    await sandbox.settle()
    mail = sandbox.store.one("SELECT * FROM outbox")
    assert mail is not None
    assert (mail["recipient"], mail["sender"]) == ("ann@example.com", "hello@scale.ai")
    assert json.loads(mail["body"])["task"]["task_id"] == made["task_id"]
    assert (await ok(tester.get(f"/task/{made['task_id']}")))["callback_succeeded"] is True


async def test_errors_audits_and_requests_call_back_and_cancellations_do_not(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    async with receiving() as receiver:
        broken = "http://broken.sandbox.invalid/x.png"
        failed = await task(live, callback_url=receiver.url, attachment=broken)
        canceled = await task(live, callback_url=receiver.url)
        await ok(live.post(f"/task/{canceled['task_id']}/cancel"))
        worked_on = await task(live, callback_url=receiver.url)
        await refused(live.post(f"/task/{worked_on['task_id']}/send_callback"), 400)
        await sandbox.advance(DAY)
        await ok(live.post(f"/task/{worked_on['task_id']}/audit", json={"accepted": False}))
        await sandbox.settle()
        for spelling in ("send_callback", "send-callback"):
            assert await ok(live.post(f"/task/{failed['task_id']}/{spelling}")) == {"success": True}
            await sandbox.settle()
        seen = [
            (body["task_id"], body["status"], body["task"].get("customer_review_status")) for body in receiver.bodies
        ]
        assert seen == [
            (failed["task_id"], "error", None),
            (worked_on["task_id"], "completed", None),
            (worked_on["task_id"], "completed", "rejected"),
            *[(failed["task_id"], "error", None)] * 2,
        ]
        assert receiver.bodies[0]["response"]["attachments"] == [{"statusCode": 404, "url": broken}]
    await refused(live.post(f"/task/{(await task(live))['task_id']}/send_callback"), 400)
    await refused(live.post("/task/nope/send_callback"), 404)


async def test_a_completed_batch_calls_back(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    async with receiving() as receiver:
        await project(live)
        await batch(live, callback=receiver.url)
        await task(live, batch="first")
        await task(live, batch="first")
        await sandbox.advance(DAY)
        (body,) = receiver.bodies
        assert body == {
            "batch": await ok(live.get("/batches/first")),
            "project": "cars",
            "name": "first",
            "status": "completed",
        }


async def test_a_receiver_may_ask_the_sandbox_while_it_is_called(sandbox: Sandbox, tester: httpx2.AsyncClient) -> None:
    async with receiving() as receiver:
        made = await task(tester, callback_url=receiver.url)
        await ok(tester.get(f"/task/{made['task_id']}"))
        await sandbox.settle()
        assert len(receiver.bodies) == 1


async def test_a_retry_and_what_happens_meanwhile_keep_to_the_order_of_time(
    sandbox: Sandbox, tester: httpx2.AsyncClient
) -> None:
    order: list[float] = []
    sandbox.agenda.on("noted", lambda event: order.append(event.at))
    start = sandbox.clock.now()
    for seconds in (10, 40, 200, 5000):
        sandbox.agenda.schedule(start + seconds, "noted")
    deliver = sandbox.agenda._handlers["deliver"]
    sandbox.agenda.on("deliver", lambda event: (order.append(event.at), deliver(event))[1])
    await task(tester, callback_url="http://127.0.0.1:9/nobody-listens")
    await sandbox.advance(DAY)
    assert len(order) == 4 + 21
    assert order == sorted(order)


async def test_a_crowd_of_callbacks_takes_turns_and_none_is_given_up(
    sandbox: Sandbox, tester: httpx2.AsyncClient
) -> None:
    async with receiving() as receiver:
        for _ in range(150):
            await task(tester, callback_url=receiver.url)
        await sandbox.settle()
        assert len(receiver.bodies) == 150
    assert {each["status"] for each in attempts(sandbox)} == {200}
