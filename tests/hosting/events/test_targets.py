"""Where webhooks may go: the tricks by which an address inside is made to look like one outside."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import httpx2
import pytest

from scale_mcp.hosting.events.outbound import Outbound
from scale_mcp.hosting.events.targets import TargetRefused, is_public, resolve, target_of

pytestmark = pytest.mark.anyio
METADATA = "169.254.169.254"


def resolver(*answers: Sequence[str]):  # type: ignore[no-untyped-def]
    """Answers in turn, and goes on with the last one."""
    waiting = list(answers)

    async def resolve_host(host: str, port: int) -> Sequence[str]:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return resolve_host


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",  # not encrypted
        "ftp://example.com/",
        "https:///hook",
        "//example.com/hook",
        "https://",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com@169.254.169.254/",
        "https://example.com\\@169.254.169.254/",
        "https://example.com/#fragment",
        "https://exam ple.com/",
        "https://example.com/\r\nHost: x",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1/",
        "https://ex%61mple.com/",
        "https://bücher.example/",
        "https://-example.com/",
        "https://example..com/",
        "https://" + "a" * 3_000 + ".com/",
    ],
)
def test_what_is_no_plain_https_address_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        target_of(url)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost.",
        "LOCALHOST",
        "a.localhost",
        "127.0.0.1",
        "127.0.0.1.",
        "10.1.2.3",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        METADATA,
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "2130706433",  # 127.0.0.1 as one number
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "1.2.3",
        "[::1]",
        "[::]",
        "[::ffff:169.254.169.254]",
        "[::ffff:7f00:1]",
        "[::7f00:1]",
        "[64:ff9b::169.254.169.254]",  # NAT64
        "[64:ff9b:1::a00:1]",
        "[2002:7f00:1::]",  # 6to4
        "[2001:0:7f00:1::]",  # Teredo
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[fe80::1%25eth0]",
    ],
)
async def test_an_address_inside_is_refused_however_it_is_written(host: str) -> None:
    contacted: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        contacted.append(request)
        return httpx2.Response(200)

    async def post() -> None:
        target = target_of(f"https://{host}/hook")
        async with Outbound(transport=httpx2.MockTransport(answer)) as outbound:
            raise TargetRefused(str((await outbound.post(target, b"{}", {})).problem))

    with pytest.raises(TargetRefused):
        await post()
    assert contacted == []


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"],
)
def test_public_addresses_pass(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], [METADATA], ["::ffff:10.0.0.1"], ["fe80::1%eth0"], []]
)
async def test_a_name_that_leads_inside_is_refused(answer: list[str]) -> None:
    with pytest.raises(TargetRefused):
        await target_of("https://hooks.example.com/").addresses(resolver(answer))


async def test_a_resolver_that_changes_its_mind_gains_nothing() -> None:
    """Public when it is examined, inside when it would be connected to: it is asked once per try."""
    sent: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(500)

    rebinding = resolver(["93.184.216.34"], ["127.0.0.1"])
    async with Outbound(resolve_host=rebinding, transport=httpx2.MockTransport(answer)) as outbound:
        target = target_of("https://hooks.example.com:8443/in?x=1")
        assert (await outbound.post(target, b"{}", {})).status == 500
        assert "not a public address" in str((await outbound.post(target, b"{}", {})).problem)

    (request,) = sent
    assert str(request.url) == "https://93.184.216.34:8443/in?x=1"
    assert request.headers["host"] == "hooks.example.com:8443"
    assert request.extensions["sni_hostname"] == "hooks.example.com"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(str(request.url))
        return httpx2.Response(status, headers={"location": f"http://{METADATA}/latest"})

    transport = httpx2.MockTransport(answer)
    async with Outbound(resolve_host=resolver(["93.184.216.34"]), transport=transport) as outbound:
        answered = await outbound.post(target_of("https://hooks.example.com/"), b"{}", {})

    assert not answered.delivered
    assert answered.problem == f"the receiver answered {status}"
    assert sent == ["https://93.184.216.34/"]


async def test_the_next_address_is_tried_when_nobody_listens_at_the_first() -> None:
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.url.host)
        if len(sent) == 1:
            raise httpx2.ConnectError("no route")
        return httpx2.Response(204)

    hosts = resolver(["2606:2800:220:1:248:1893:25c8:1946", "93.184.216.34"])
    async with Outbound(resolve_host=hosts, transport=httpx2.MockTransport(answer)) as outbound:
        assert (await outbound.post(target_of("https://hooks.example.com/"), b"{}", {})).delivered
    assert sent == ["2606:2800:220:1:248:1893:25c8:1946", "93.184.216.34"]


async def test_the_operator_may_name_a_host_inside_and_no_other() -> None:
    target = target_of("http://127.0.0.1:9000/hook", "127.0.0.1")
    assert [str(address) for address in await target.addresses(resolve)] == ["127.0.0.1"]
    assert target_of("https://hooks.internal/", "Hooks.Internal.").named
    named = target_of("https://hooks.internal/", "hooks.internal")
    assert [str(address) for address in await named.addresses(resolver(["10.0.0.7"]))] == ["10.0.0.7"]
    with pytest.raises(TargetRefused, match="is not the host"):
        target_of("https://other.internal/", "hooks.internal")
    with pytest.raises(TargetRefused, match="link-local"):
        await named.addresses(resolver([METADATA]))
    with pytest.raises(TargetRefused, match="link-local"):
        await named.addresses(resolver([f"::ffff:{METADATA}"]))
