"""Delivery of callbacks: what is sent, what counts as delivered, and where nothing is ever sent."""

from __future__ import annotations

import json
from collections.abc import Callable

import anyio
import httpx2
import pytest

from scale_mcp.sandbox import LOOPBACK
from scale_mcp.sandbox.callbacks import RETRY_DELAYS, Attempt, Courier, is_email

pytestmark = pytest.mark.anyio

BODY = {"task_id": "a" * 24, "status": "completed", "response": {"category": "réd"}}


class Receiver:
    """Stands in for the customer's server and remembers what came."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
        self.requests: list[httpx2.Request] = []
        self._answer = answer

    def transport(self) -> httpx2.MockTransport:
        def handle(request: httpx2.Request) -> httpx2.Response:
            self.requests.append(request)
            return self._answer(request)

        return httpx2.MockTransport(handle)


def answering(status: int, **headers: str) -> Receiver:
    return Receiver(lambda request: httpx2.Response(status, headers=headers))


async def deliver(
    receiver: Receiver, url: str = "http://localhost:9000/hook?x=1", hosts: tuple[str, ...] = LOOPBACK
) -> Attempt:
    courier = Courier("the-secret", hosts, transport=receiver.transport())
    try:
        return await courier.deliver(url, BODY)
    finally:
        await courier.aclose()


async def test_a_callback_is_json_by_post_with_the_auth_header() -> None:
    receiver = answering(200)

    attempt = await deliver(receiver)

    assert attempt == Attempt(status=200, delivered=True)
    (request,) = receiver.requests
    assert (request.method, str(request.url)) == ("POST", "http://localhost:9000/hook?x=1")
    assert request.headers["scale-callback-auth"] == "the-secret"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == BODY


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_any_success_counts_as_delivered(status: int) -> None:
    assert (await deliver(answering(status))).delivered


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_a_refusal_counts_as_failed_and_says_its_status(status: int) -> None:
    attempt = await deliver(answering(status))

    assert attempt == Attempt(status=status, error=f"the receiver answered {status}")


async def test_a_redirect_is_not_followed() -> None:
    receiver = answering(302, location="http://localhost:9000/elsewhere")

    attempt = await deliver(receiver)

    assert (attempt.status, attempt.delivered, len(receiver.requests)) == (302, False, 1)


async def test_a_receiver_that_cannot_be_reached_is_a_failed_attempt() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused")

    attempt = await deliver(Receiver(refuse))

    assert attempt == Attempt(error="connection refused")


async def test_a_receiver_that_never_answers_is_given_up() -> None:
    async def hang(request: httpx2.Request) -> httpx2.Response:
        await anyio.sleep_forever()
        raise AssertionError

    courier = Courier("the-secret", timeout=0.01, transport=httpx2.MockTransport(hang))

    attempt = await courier.deliver("http://127.0.0.1/hook", BODY)

    await courier.aclose()
    assert attempt == Attempt(error="no answer within 0.01 s")


@pytest.mark.parametrize(
    "url",
    [
        "http://www.example.com/callback",
        "https://localhost.example.com/hook",
        "http://localhost@example.com/hook",
        "http://127.0.0.1.nip.io/",
        "http://169.254.169.254/latest/meta-data",
        "ftp://localhost/hook",
        "file:///etc/passwd",
        "localhost/hook",
        "http://",
        "http://localhost:notaport/",
        "http://[::1/",
        "annotations@example.com",
        "",
    ],
)
async def test_nothing_is_sent_to_addresses_off_the_list(url: str) -> None:
    receiver = answering(200)

    attempt = await deliver(receiver, url)

    assert attempt.skipped
    assert attempt.error
    assert not attempt.delivered
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url", ["http://localhost/a", "https://127.0.0.1:8443/a", "http://[::1]:9000/a", "http://LOCALHOST/a"]
)
async def test_loopback_is_on_the_list_by_itself(url: str) -> None:
    assert (await deliver(answering(200), url)).delivered


async def test_the_list_of_hosts_is_the_operators() -> None:
    hosts = ("hooks.example.com",)

    assert (await deliver(answering(200), "https://hooks.example.com/a", hosts)).delivered
    assert (await deliver(answering(200), "http://localhost/a", hosts)).skipped


async def test_a_courier_can_be_used_again_after_it_was_closed() -> None:
    receiver = answering(200)
    courier = Courier("the-secret", transport=receiver.transport())

    await courier.deliver("http://localhost/1", BODY)
    await courier.aclose()
    attempt = await courier.deliver("http://localhost/2", BODY)

    await courier.aclose()
    assert attempt.delivered


async def test_no_proxy_from_the_environment_comes_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com:3128")
    receiver = answering(200)

    assert (await deliver(receiver)).delivered
    assert receiver.requests[0].url.host == "localhost"


def test_twenty_retries_fit_into_a_day_and_grow() -> None:
    assert len(RETRY_DELAYS) == 20
    assert sum(RETRY_DELAYS) <= 24 * 3600
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)


@pytest.mark.parametrize(
    ("address", "email"), [("a@example.com", True), ("http://a@example.com/x", False), ("x", False)]
)
def test_an_email_address_is_told_from_a_url(address: str, email: bool) -> None:
    assert is_email(address) is email
