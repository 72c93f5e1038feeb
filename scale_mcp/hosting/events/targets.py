"""Where webhooks may go: public addresses over https, and hosts of its own that the operator names one by one.

A name is resolved once per try and the request goes to exactly the address that was examined, so a resolver that says
public first and private next gains nothing.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import anyio

from scale_mcp.hosting.errors import OperatorError

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

LONGEST_URL = 2_000
PORTS = {"https": 443, "http": 80}
NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")  # as the last part of a name: it would be read as an IP address
TRANSLATED = IPv6Network("64:ff9b::/96")  # IPv4 behind NAT64: its last 32 bits
NEVER_PUBLIC = tuple(
    IPv6Network(network)
    for network in (
        "::/96",  # IPv4 in the form that was given up
        "64:ff9b:1::/48",  # NAT64 into somebody's own network
        "2001::/32",  # Teredo: an IPv4 address in disguise, through a relay
        "fec0::/10",  # site-local
    )
)


class TargetRefused(OperatorError):
    """An address that webhooks do not go to. The text says why, and what to do."""


@dataclass(frozen=True)
class Target:
    """A checked address. ``named``: the operator named its host, so it need not be public."""

    url: str
    scheme: str
    host: str
    port: int
    path: str  # with its query, as it was given
    named: bool

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    async def addresses(self, resolve: Resolver) -> list[Address]:
        """The addresses to connect to. Raises ``TargetRefused`` when one of them is not to be contacted."""
        try:
            found = [ip_address(text.partition("%")[0]) for text in await resolve(self.host, self.port)]
        except (OSError, ValueError, UnicodeError):
            found = []
        if not found:
            raise TargetRefused(f"The name {self.host} cannot be resolved.")
        for address in found:
            if _link_local(address):
                raise TargetRefused(f"{self.host} is {address}, a link-local address, where no webhook belongs.")
            if not self.named and not is_public(address):
                raise TargetRefused(
                    f"{self.host} is {address}, which is not a public address. If that is meant, name the host: "
                    f"--private-host {self.host}."
                )
        return list(dict.fromkeys(found))


def target_of(url: str, private_host: str | None = None) -> Target:
    """Examine an address. ``private_host`` is a host that the operator lets through though it is not public.

    Raises ``TargetRefused``. Names are looked up later, at every try.
    """
    if not re.fullmatch(rf"[!-~]{{1,{LONGEST_URL}}}", url) or "\\" in url:
        raise TargetRefused("The address holds characters that no URL has; write it like https://example.com/hook.")
    try:
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname or ""
    except ValueError:
        raise TargetRefused("The address is not a URL; write it like https://example.com/hook.") from None
    if parts.scheme not in PORTS or not name:
        raise TargetRefused("The address must begin with https:// and a host.")
    if "@" in parts.netloc:
        raise TargetRefused("The address holds a user name or password. Take it out: deliveries are signed instead.")
    if "#" in url:
        raise TargetRefused("The address holds a fragment (#…), which is never sent. Take it out.")
    if port == 0:
        raise TargetRefused("There is no port 0.")
    host = _host(name)
    named = private_host is not None and _host(private_host.strip("[]").lower()) == host
    if private_host is not None and not named:
        raise TargetRefused(f"The host that is let through, {private_host}, is not the host of the address, {host}.")
    if parts.scheme == "http" and not named:
        raise TargetRefused("The address must be https. Plain http is only for a host of your own, named beside it.")
    literal = _literal(host)
    if not named and (host == "localhost" or host.endswith(".localhost") or (literal and not is_public(literal))):
        raise TargetRefused(
            f"{host} is not a public address. If that is meant, name the host beside it: --private-host {host}."
        )
    path = parts.path or "/"
    query = f"?{parts.query}" if parts.query else ""
    return Target(url, parts.scheme, host, port or PORTS[parts.scheme], path + query, named)


def is_public(address: Address) -> bool:
    """Whether an address is reachable from everywhere. What carries an IPv4 address is judged by that one."""
    if isinstance(address, IPv6Address):
        if address in TRANSLATED:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if any(address in network for network in NEVER_PUBLIC):
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _link_local(address: Address) -> bool:
    """Also inside an IPv6 address: cloud machines answer there with their own credentials."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in TRANSLATED:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_link_local
    return address.is_link_local


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host as this machine's resolver knows them, in its order of preference."""
    if _literal(host):
        return [host]
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(where[4][0]) for where in found]


def _host(name: str) -> str:
    """A host as it is compared and resolved. Raises ``TargetRefused`` for what only looks like one."""
    host = name.lower().removesuffix(".")
    if _literal(host):
        return host
    if not host.isascii():
        raise TargetRefused("The host holds letters beyond ASCII. Write it in its xn-- form.")
    if len(host) > 253 or not NAME.fullmatch(host):
        raise TargetRefused(f"{name[:80]!r} is not a host name.")
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        raise TargetRefused(f"{name[:80]!r} is an IP address in disguise. Write the host's name, or 1.2.3.4 plainly.")
    return host


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host) if "%" not in host else None
    except ValueError:
        return None
