"""Faults on demand: which requests, and which callbacks, shall go wrong, and how.

A rule names what it strikes (a route by name, a path by pattern, a method, a key) and how often (``rate``, decided by
the rule's own seeded dice, and at most ``times``). ``key_limit`` strikes what is too much for one key, whatever the
others do: each may make ``per_second`` requests a second of the sandbox's clock, and as many at once. Cutting a
connection is left to app.py, which knows the socket; here a reply only says after how many bytes it ends.
"""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, get_type_hints

import anyio

from scale_mcp.sandbox import decisions
from scale_mcp.sandbox.accounts import fingerprint
from scale_mcp.sandbox.http import ApiError, Reply, Request, Route

if TYPE_CHECKING:
    from scale_mcp.sandbox.app import Exchange
    from scale_mcp.sandbox.sandbox import Sandbox

KINDS = {
    "rate_limit": "429 with a Retry-After header; nothing is done",
    "key_limit": "the same, but only for what is above per_second requests a second of one key",
    "unauthorized": "401, as for a key that was revoked; nothing is done",
    "error_before": "a 5xx before anything is done",
    "error_after": "a 5xx although the request was carried out",
    "drop_before": "the connection is closed without an answer; nothing is done",
    "drop_after": "the connection is closed without an answer although the request was carried out",
    "slow": "the answer comes late (delay_ms), or the sandbox's clock goes on by as much (virtual)",
    "truncated": "the connection is closed in the middle of the answer's body",
    "malformed": "a 200 whose JSON is cut short",
    "lost_callback": "a callback attempt fails without reaching its receiver",
}
MAX_DELAY_MS = 60_000
OWN = ("struck", "seen", "dice", "left")  # what a rule keeps of itself, and nobody gives


@dataclass
class Rule:
    """One fault to inject. Times are milliseconds unless named otherwise; ``retry_after`` is in seconds."""

    kind: str
    id: str = ""
    route: str | None = None  # the name of a route: create_task, get_task, upload_file, …
    path: str | None = None  # a pattern (*, ?) for the raw path below /v1, or for a callback's URL
    method: str | None = None
    key: str | None = None  # a key, or its fingerprint as the request log shows it
    rate: float = 1.0
    times: int | None = None  # how often at most; without it there is no end
    status: int | None = None  # of error_before and error_after; 500 by default
    retry_after: float = 1.0  # of rate_limit, in seconds
    per_second: float = 1.0  # of key_limit: requests that each key may make
    delay_ms: float = 1000.0  # of slow
    virtual: bool = False  # of slow: move the sandbox's clock instead of waiting
    struck: int = 0
    seen: int = 0
    dice: random.Random = field(default_factory=random.Random, repr=False, compare=False)
    left: dict[str, tuple[float, float]] = field(
        default_factory=dict, repr=False, compare=False
    )  # by key: how many, when

    def matches(self, route: str | None, method: str, path: str, key: str | None) -> bool:
        return (
            (self.route is None or self.route == route)
            and (self.method is None or self.method == method)
            and (self.path is None or fnmatchcase(path, self.path))
            and (self.key is None or self.key == key)
        )

    def strikes(self) -> bool:
        """Throw the dice for one matching request, and count."""
        self.seen += 1
        if self.times is not None and self.struck >= self.times:
            return False
        if self.dice.random() >= self.rate:
            return False
        self.struck += 1
        return True

    def describe(self) -> dict[str, Any]:
        """The rule as JSON, with how many requests it matched (``seen``) and how many it struck."""
        shown = asdict(self)
        for kept in ("dice", "left"):
            del shown[kept]
        return shown

    def within_limit(self, key: str, now: float) -> bool:
        """Of ``key_limit``: whether a key may make one more request now (a bucket that holds a second's worth)."""
        most = max(1.0, self.per_second)
        left, at = self.left.get(key, (most, now))
        left = min(most, left + (now - at) * self.per_second)
        allowed = left >= 1
        self.left[key] = (left - allowed, now)
        return allowed

    def seconds_until_more(self, key: str) -> int:
        """Whole seconds until a key may make one more request."""
        return max(1, math.ceil(round((1 - self.left[key][0]) / self.per_second, 6)))


class Faults:
    """The rules in force. The first rule that strikes decides; rules of kind ``slow`` come on top of it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.seed = sandbox.options.seed
        self.rules: list[Rule] = []
        self._made = 0

    async def before(self, request: Request, route: Route, exchange: Exchange) -> Reply | None:
        """Throw the dice for a request. Waits when it is to be slow; a reply stands in for the handler's work."""
        struck = self._striking(route.name, request)
        exchange.fault = "+".join(rule.kind for rule in struck) or None
        for slow in (rule for rule in struck if rule.kind == "slow"):
            await self._wait(slow)
        rule = next((rule for rule in struck if rule.kind != "slow"), None)
        if rule is None:
            return None
        exchange.notes["fault"] = rule
        if rule.kind == "rate_limit":
            return _too_many(rule.retry_after)
        if rule.kind == "key_limit":
            return _too_many(rule.seconds_until_more(request.account.key_id))
        if rule.kind == "unauthorized":
            return ApiError(401, decisions.UNAUTHORIZED_TEXT.value).reply()
        if rule.kind == "error_before":
            return _server_error(rule)
        if rule.kind == "drop_before":
            return Reply(cut_after=-1)
        return None

    async def after(self, request: Request, route: Route, reply: Reply, exchange: Exchange) -> Reply:
        """What the caller gets to see of ``reply``, the handler's work being committed."""
        rule: Rule | None = exchange.notes.get("fault")
        if rule is None:
            return reply
        if rule.kind == "error_after":
            return _server_error(rule)
        if rule.kind == "drop_after":
            return Reply(cut_after=-1)
        body = reply.encode()
        if rule.kind == "truncated":
            return replace(reply, cut_after=len(body) // 2)
        return replace(reply, content=body[: len(body) // 2])

    def loses_callback(self, account_id: str, url: str) -> bool:
        """Whether this attempt to deliver a callback is to be lost."""
        return any(
            rule.kind == "lost_callback" and rule.matches(None, "POST", url, account_id) and rule.strikes()
            for rule in self.rules
        )

    def _striking(self, route: str, request: Request) -> list[Rule]:
        struck: list[Rule] = []
        path, key = request.path.removeprefix("/v1"), request.account.key_id
        for rule in self.rules:
            if rule.kind == "lost_callback" or not rule.matches(route, request.method, path, key):
                continue
            if rule.kind == "key_limit" and rule.within_limit(key, self._sandbox.clock.now()):
                rule.seen += 1
                continue
            if (rule.kind == "slow" or all(other.kind == "slow" for other in struck)) and rule.strikes():
                struck.append(rule)
        return struck

    async def _wait(self, rule: Rule) -> None:
        if rule.virtual:
            self._sandbox.clock.advance(rule.delay_ms / 1000)
        else:
            await anyio.sleep(rule.delay_ms / 1000)

    def put(self, descriptions: list[Any], seed: int | None = None) -> None:
        """Put these rules in the place of all. 400 when one of them is wrong; then nothing changes."""
        rules = [self._rule(description) for description in descriptions]
        self.seed = self.seed if seed is None else seed
        self.rules, self._made = [], 0
        for rule in rules:
            self._admit(rule)

    def add(self, description: Any) -> Rule:
        return self._admit(self._rule(description))

    def remove(self, rule_id: str | None = None) -> None:
        """Take one rule away, or all of them. 404 when there is none of that id."""
        kept = [] if rule_id is None else [rule for rule in self.rules if rule.id != rule_id]
        if rule_id is not None and len(kept) == len(self.rules):
            raise ApiError(404, f"There is no fault {rule_id}.")
        self.rules = kept

    def _admit(self, rule: Rule) -> Rule:
        self._made += 1
        rule.id = rule.id or f"fault-{self._made}"
        if any(other.id == rule.id for other in self.rules):
            raise ApiError(409, f"There is a fault {rule.id} already.")
        rule.dice.seed(f"{self.seed}:{rule.id}")
        self.rules.append(rule)
        return rule

    @staticmethod
    def _rule(description: Any) -> Rule:
        if not isinstance(description, dict):
            raise ApiError(400, "A fault is a JSON object with at least a kind.")
        given = {name: value for name, value in description.items() if value is not None}
        for own in OWN:  # so that what GET shows can be sent back
            given.pop(own, None)
        if given.get("kind") not in KINDS:
            raise ApiError(400, f"The kind of a fault is one of {', '.join(KINDS)}.")
        types = _field_types()
        for name, value in given.items():
            if name not in types:
                raise ApiError(400, f"A fault has no {name}; it takes {', '.join(types)}.")
            if isinstance(value, bool) is not (types[name] == (bool,)) or not isinstance(value, types[name]):
                raise ApiError(400, f"{name} of a fault has the wrong type.")
        rule = Rule(**given)
        rule.key = None if rule.key is None else fingerprint(rule.key)
        if not 0 < rule.per_second < math.inf:
            raise ApiError(400, "The per_second of a fault is a number above 0.")
        if not 0 <= rule.rate <= 1:
            raise ApiError(400, "The rate of a fault is a number from 0 to 1.")
        if rule.times is not None and rule.times < 0:
            raise ApiError(400, "The times of a fault cannot be negative.")
        if rule.status is not None and not 500 <= rule.status <= 599:
            raise ApiError(400, "The status of a fault is from 500 to 599.")
        if not (0 <= rule.delay_ms <= MAX_DELAY_MS or rule.virtual) or rule.delay_ms < 0:
            raise ApiError(400, f"The delay_ms of a fault is from 0 to {MAX_DELAY_MS}.")
        return rule


def _too_many(seconds: float) -> Reply:
    return ApiError(429, "Too many requests.", {"retry-after": f"{seconds:g}"}).reply()


def _server_error(rule: Rule) -> Reply:
    return ApiError(rule.status or 500, "Internal server error (a fault injected by the sandbox).").reply()


def _field_types() -> dict[str, tuple[type, ...]]:
    """Which JSON types each field of a rule takes."""
    numbers: dict[Any, tuple[type, ...]] = {float: (int, float), bool: (bool,), int | None: (int,)}
    hints = get_type_hints(Rule)
    return {name: numbers.get(hint, (str,)) for name, hint in hints.items() if name not in OWN}
