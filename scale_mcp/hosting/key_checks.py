"""What Scale says to a key, found out with the smallest request that changes nothing: ``GET /projects``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scale_mcp.api import ApiOptions, Forbidden, RefusedBeforeSending, ScaleApi, ScaleError, Unauthorized
from scale_mcp.hosting.errors import OperatorError

if TYPE_CHECKING:
    from pydantic import SecretStr

OPTIONS = ApiOptions(attempts=2, rate_limited_attempts=2, call_timeout=30.0)  # a person waits
OpenApi = Callable[["SecretStr", str], ScaleApi]


class KeyUnusable(OperatorError):
    """A text that no Scale key can be, or an address that no key may go to."""


class KeyRefused(OperatorError):
    """Scale does not take this key."""


class KeyNotChecked(OperatorError):
    """Scale could not be asked about this key."""


@dataclass(frozen=True)
class Finding:
    """What came of asking. ``status`` is ok, refused or failed; ``projects`` are their names, when it is ok."""

    status: str
    words: str = ""
    projects: frozenset[str] = frozenset()


def over_the_network(key: SecretStr, base_url: str) -> ScaleApi:
    """The API with this key. Nothing is sent. Raises ``RefusedBeforeSending`` for an impossible key or address."""
    return ScaleApi(key, base_url=base_url, options=OPTIONS)


async def look(key: SecretStr, base_url: str, open_api: OpenApi) -> Finding:
    """Ask Scale for the key's projects. Raises nothing that Scale or the network does."""
    try:
        async with open_api(key, base_url) as api:
            projects = await api.projects.list()
    except (Unauthorized, Forbidden, RefusedBeforeSending) as refusal:
        return Finding("refused", str(refusal))
    except ScaleError as problem:
        return Finding("failed", str(problem))
    return Finding("ok", projects=frozenset(project.name for project in projects))


def demand_ok(finding: Finding) -> None:
    """Raises ``KeyRefused`` or ``KeyNotChecked`` with Scale's words and the cure."""
    if finding.status == "refused":
        raise KeyRefused(f"Scale refuses this key; nothing was stored. {finding.words}")
    if finding.status == "failed":
        raise KeyNotChecked(
            f"The key could not be checked; nothing was stored. {finding.words} To store it unchecked, add --no-check."
        )


def demand_same_account(old: Finding, new: Finding, name: str) -> None:
    """Raises ``KeyRefused`` when two keys see nothing in common, as keys of two accounts do."""
    if old.status == new.status == "ok" and old.projects != new.projects and not old.projects & new.projects:
        raise KeyRefused(
            f"This key sees other projects than those of {name}: it is a key of another account. Add it as a "
            "connection of its own; a call must not wander between accounts unnoticed."
        )
