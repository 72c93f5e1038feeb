"""Who serves a call: the persona's routes, what is known of where things live, and what happens when Scale limits.

A read goes down the ladder (ladder.py) of the one connection that it belongs to: no other has its data. Of the writes,
only the creation of a task may move to another connection, and only where the route allows it (``fallback``), the
connection is of the same kind, nothing that the task refers to is bound to the first, and Scale has certainly not made
it: each of its requests was answered 429. With a unique_id of the caller's, it moves only if it is the first to come
with it; from then on creates with that unique_id go where it went.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from scale_mcp.api import Forbidden, InvalidRequest, NotFound, RateLimited, ScaleApi, ScaleError
from scale_mcp.api.trace import Trace, recording
from scale_mcp.hosting.accounts import Account, Accounts, NoKey
from scale_mcp.hosting.clock import Clock, utc_now
from scale_mcp.hosting.ladder import ReadLadder, key_changes, wait_of
from scale_mcp.hosting.matching import EVERYWHERE, Facts, agrees, argument, facts_of, matching
from scale_mcp.hosting.served import Limited, NoRoute, Served
from scale_mcp.tools.card import ToolOutput
from scale_mcp.tools.registry import MODULES
from scale_mcp.tools.visible import visible

if TYPE_CHECKING:
    from scale_mcp.hosting.homes import Homes
    from scale_mcp.hosting.personas import Persona, Route
    from scale_mcp.models.base import RequestModel
    from scale_mcp.tools.card import Card

__all__ = ["Limited", "NoRoute", "Router", "Served"]

Ask = Callable[[ScaleApi], Awaitable[ToolOutput]]
MOVABLE = frozenset(MODULES["create_tasks"])
BOUND_TO_AN_ACCOUNT = ("batch", "lidar_task")  # arguments of creates
OWN_FILE = "scaledata://"  # how addresses of files begin that were uploaded to an account
REMEMBERED = 10_000  # batches whose connection is known
MISSED_FOR = 2.0  # seconds that what was not found anywhere is not looked for again


@dataclass(frozen=True)
class _Choice:
    account: Account
    route: Route


class Router:
    """Finds the connection of each call, and gets it served."""

    def __init__(self, accounts: Accounts, homes: Homes, clock: Clock = utc_now) -> None:
        self._accounts = accounts
        self._homes = homes
        self._clock = clock
        self._reads = ReadLadder(lambda: clock().timestamp())
        # Persona and name → connection id and project.
        self._batches: OrderedDict[tuple[str, str], tuple[str, str | None]] = OrderedDict()
        # Where a task or batch that is nowhere was missing, and when it was looked for.
        self._missed: OrderedDict[tuple[str, Facts], tuple[float, frozenset[str]]] = OrderedDict()

    async def candidates(self, persona: Persona, card: Card, request: RequestModel) -> list[Account]:
        """The accounts that may serve a call, in the order to try them; at least one.

        What is about a task or batch has one candidate as soon as it is known where that is; finding out may read
        from Scale. Raises ``NoRoute``, ``NoKey``, and Scale's errors when it has to be asked and does not answer.
        """
        return [choice.account for choice in await self._choices(persona, facts_of(card, request))]

    async def run(self, persona: Persona, card: Card, request: RequestModel, call: Ask, what: str = "") -> Served:
        """Have ``call`` served with the API of the right account.

        ``what`` tells reads apart that are made by other means than the card's, with the same arguments. Raises
        ``Limited`` when Scale's rate limits let nobody serve it; then nothing was done. Else what ``call`` raises.
        """
        choices = await self._choices(persona, facts_of(card, request))
        first = choices[0].account
        if card.toolset == EVERYWHERE:
            return Served(await call(first.api), first.name, first.kind)
        if card.risk == "read":
            question = (persona, first.id, card.name, what, request.model_dump_json())
            return await self._reads.read(question, first, call)
        return await self._write(persona, card, request, choices, call)

    # Where --------------------------------------------------------------------------------------------------------

    async def _choices(self, persona: Persona, facts: Facts) -> list[_Choice]:
        choices: list[_Choice] = []
        unusable: NoKey | None = None
        for route in matching(persona, facts):
            try:
                account = await self._accounts.named(route.connection)
            except NoKey as problem:
                unusable = problem
                continue
            if account is not None:
                choices.append(_Choice(account, route))
        if not choices:
            raise unusable or NoRoute
        if facts.bound and (len(choices) > 1 or not agrees(choices[0].route.when, facts)):
            return [await self._where(persona, facts, choices)]
        return choices

    async def _where(self, persona: Persona, facts: Facts, choices: list[_Choice]) -> _Choice:
        """The choice where the task or batch is; when it is nowhere, one that says so."""
        known = await self._known(persona, facts, choices)
        if known is not None:
            return known
        mark = (persona.id, facts)
        before, without = self._missed.get(mark, (-math.inf, frozenset()))
        if time.monotonic() - before >= MISSED_FOR:
            limited: RateLimited | None = None
            missing: set[str] = set()
            for choice in choices:
                try:
                    found = await self._look(persona, facts, choice)
                except RateLimited as problem:
                    limited = limited or problem  # it may be in one that does answer
                    continue
                if found == "here":
                    return choice
                if found == "missing":
                    missing.add(choice.account.id)
            if limited is not None:
                names = tuple(choice.account.name for choice in choices)
                raise Limited(names, wait_of(limited, choices[0].account)) from None
            without = frozenset(missing)
            self._missed[mark] = time.monotonic(), without
            if len(self._missed) > REMEMBERED:
                self._missed.popitem(last=False)
        for choice in choices:
            if choice.account.id in without:
                return choice  # Scale's own words
        raise NotFound("There is nothing of that name or id here.", status=404)

    async def _known(self, persona: Persona, facts: Facts, choices: list[_Choice]) -> _Choice | None:
        if facts.task is not None:
            home = await self._homes.find(facts.task)
            if home is None:
                return None
            project, facts, connection_id = home.project, facts.of(home.project, home.task_type), home.connection_id
        else:
            assert facts.batch is not None
            connection_id, project = self._batches.get((persona.id, facts.batch), ("", None))
        if not _is_seen(persona, project):
            return None  # looked for as if nobody knew it
        return next((choice for choice in choices if choice.account.id == connection_id and _fits(choice, facts)), None)

    async def _look(self, persona: Persona, facts: Facts, choice: _Choice) -> Literal["here", "missing", "not for it"]:
        """Whether an account has the task or batch, and whether the route to it is for such ones.

        What is of a project that the persona does not see is missing. It is not remembered either: the next question
        takes as many requests as one about nothing.
        """
        account = choice.account
        try:
            if facts.task is not None:
                task = await account.api.tasks.get(facts.task)
                if not _is_seen(persona, task.project):
                    return "missing"
                if not _fits(choice, facts.of(task.project, task.type)):
                    return "not for it"
                await self._homes.remember(facts.task, account.id, task.project, task.type)
                return "here"
            assert facts.batch is not None
            batch = await account.api.batches.get(facts.batch)
        except (NotFound, InvalidRequest, Forbidden):
            return "missing"
        if not _is_seen(persona, batch.project):
            return "missing"
        if not _fits(choice, facts.of(batch.project, None)):
            return "not for it"
        self._batches[persona.id, facts.batch] = account.id, batch.project
        if len(self._batches) > REMEMBERED:
            self._batches.popitem(last=False)
        return "here"

    # Writes -------------------------------------------------------------------------------------------------------

    async def _write(
        self, persona: Persona, card: Card, request: RequestModel, choices: list[_Choice], call: Ask
    ) -> Served:
        """Send a write to its connection, or have a create moved on as long as that is safe."""
        unique_id = argument(request, "unique_id") if card.name in MOVABLE else None
        choices = [choices[0], *_ways_on(choices)] if _is_movable(card, request) else choices[:1]
        if unique_id and len(choices) > 1:
            choices = await self._placed(persona, unique_id, choices)
        limited: list[tuple[str, float]] = []
        refused = ""
        for choice, following in zip(choices, [*choices[1:], None], strict=True):
            account = choice.account
            account.writes += 1
            trace = Trace()
            try:
                with recording() as trace:
                    output = await call(account.api)
            except ScaleError as error:
                if not _was_not_done(error, trace) or not (isinstance(error, RateLimited) or limited):
                    raise
                if not isinstance(error, RateLimited):
                    refused = f"{account.name} does not take it either: {error.message} "
                    break
                limited.append((account.name, wait_of(error, account)))
                if following is None or not await self._may_move(persona, unique_id, account, following.account):
                    break
            else:
                await self._remember(persona, card, account, output)
                names = tuple(name for name, _ in limited)
                return Served(output, account.name, account.kind, moved_from=names, key_changes=key_changes(trace))
            finally:
                account.writes += 1
        if unique_id and account is not choices[0].account:  # so that it is tried where it belongs, next time
            await self._homes.move(persona.id, unique_id, away_from=account.id, to=choices[0].account.id)
        raise Limited(tuple(name for name, _ in limited), min(wait for _, wait in limited), refused.strip())

    async def _placed(self, persona: Persona, unique_id: str, choices: list[_Choice]) -> list[_Choice]:
        """Where a create with the caller's unique_id may go: on from the first only for whoever comes first with it."""
        place = await self._homes.place(persona.id, unique_id, choices[0].account.id)
        if place.first:
            return choices
        return [choice for choice in choices if choice.account.id == place.connection_id] or choices[:1]

    async def _may_move(self, persona: Persona, unique_id: str | None, account: Account, to: Account) -> bool:
        if unique_id is None:
            return True  # the id that each call is given anew is known to nobody else
        return await self._homes.move(persona.id, unique_id, away_from=account.id, to=to.id)

    async def _remember(self, persona: Persona, card: Card, account: Account, output: ToolOutput) -> None:
        task_id = getattr(output, "task_id", None)
        if card.name not in MOVABLE or not isinstance(task_id, str):
            return
        if len(persona.routes) > 1 or persona.projects:  # nobody asks for it otherwise
            project, task_type = (getattr(output, name, None) for name in ("project", "type"))
            await self._homes.remember(task_id, account.id, project, task_type)


def _is_seen(persona: Persona, project: str | None) -> bool:
    return visible(project, persona.projects or None)


def _fits(choice: _Choice, facts: Facts) -> bool:
    return agrees(choice.route.when, facts) is not False


def _ways_on(choices: list[_Choice]) -> list[_Choice]:
    """The choices that a call may move to: as long as each allows it, and of the same kind."""
    found = []
    for choice, following in pairwise(choices):
        if not choice.route.fallback:
            break
        if following.account.kind == choices[0].account.kind:
            found.append(following)
    return found


def _is_movable(card: Card, request: RequestModel) -> bool:
    """Whether a call creates a task that refers to nothing which is in one account only."""
    return (
        card.name in MOVABLE
        and all(argument(request, name) is None for name in BOUND_TO_AN_ACCOUNT)
        and OWN_FILE not in request.model_dump_json(exclude_unset=True)
    )


def _was_not_done(error: ScaleError, trace: Trace) -> bool:
    """Whether nothing that was sent can have taken effect: each request was refused, and not for Scale's own faults."""
    statuses = {status for exchange in trace.exchanges if exchange.method != "GET" for status in exchange.statuses}
    return not error.in_doubt and all(status is not None and 400 <= status < 500 for status in statuses)
