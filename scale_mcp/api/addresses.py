"""Whole addresses: the base of a connection, a path as it was built, a query. Checked to be that and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import httpx2

from scale_mcp.api.errors import RefusedBeforeSending
from scale_mcp.text import one_line


@dataclass(frozen=True, slots=True)
class Address:
    """The same address parsed and as it goes out, byte for byte."""

    url: httpx2.URL
    text: str


@lru_cache(maxsize=128)
def address(base_url: str, path: str, query: tuple[tuple[str, str], ...]) -> Address:
    """The address of a request. A create of one type goes to the same one each time, so the last ones are kept.

    Raises RefusedBeforeSending when it would be too long, or its path another than ``path``.
    """
    whole = base_url + path
    try:
        url = httpx2.URL(whole, params=query) if query else httpx2.URL(whole)
    except httpx2.InvalidURL as error:
        reason = one_line(str(error), 100)
        raise RefusedBeforeSending(
            f"No address can be made from this request ({reason}).", next_step="Ask for less at once."
        ) from None
    expected = httpx2.URL(base_url).raw_path.rstrip(b"/") + path.encode()
    if url.raw_path.split(b"?")[0] != expected:
        raise RefusedBeforeSending("The address made from this request does not lead where it should.")
    return Address(url, f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}")
