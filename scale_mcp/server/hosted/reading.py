"""Resources and completion for one persona: reads by another door, under the same rules and in the same trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import mcp.types as t
from mcp import MCPError

from scale_mcp.api.errors import ScaleError
from scale_mcp.server.guard import Context
from scale_mcp.server.hosted.trail import written_down
from scale_mcp.server.hosted.visit import visit_of_this_request
from scale_mcp.server.request_ids import request_id
from scale_mcp.tools import completion, resources
from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import ToolFailure, ToolOutput
from scale_mcp.tools.registry import cards

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scale_mcp.api import ScaleApi
    from scale_mcp.hosting.house import House
    from scale_mcp.hosting.personas import Persona
    from scale_mcp.server.hosted.desk import PersonaDesk
    from scale_mcp.settings import Settings

READING_ARGUMENT = {"get_project": "name", "get_batch": "batch_name", "get_task": "task_id"}


class _Whole(ToolOutput):
    """A resource's text, or the names that complete one, as the router carries it."""

    value: Any

    def text(self) -> str:
        return str(self.value)


class PersonaReading:
    """Reads for one persona. Each read counts as a call of the tool that reads the same."""

    def __init__(self, house: House, persona: Persona, desk: PersonaDesk, settings: Settings) -> None:
        self._house = house
        self._persona = persona
        self._desk = desk
        self._timeout = settings.call_timeout

    async def resource(self, ctx: Context, template: resources.ResourceTemplate, uri: str) -> str:
        visible = self._desk.confinement.visible_projects

        async def read(api: ScaleApi) -> Any:
            return await resources.read(api, template, uri, visible)

        name = resources.name_in(template, uri)
        arguments = {READING_ARGUMENT[template.read_by]: name}
        try:
            with anyio.fail_after(self._timeout):
                return str(await self._read(ctx, template.read_by, arguments, f"resource {uri}", read))
        except TimeoutError:
            raise MCPError(code=t.INTERNAL_ERROR, message=f"Given up after {self._timeout:g} s; try again.") from None

    async def names(
        self, ctx: Context, kind: completion.Kind, prefix: str, project: str | None
    ) -> completion.Completion:
        visible = self._desk.confinement.visible_projects

        async def read(api: ScaleApi) -> Any:
            return await completion.complete(api, kind, prefix, project, visible)

        arguments: dict[str, Any] = {}
        if kind == "batch" and (project or visible):
            arguments["project"] = project or (visible or ("",))[0]
        found = await self._read(ctx, completion.LISTED_BY[kind], arguments, f"completion {prefix}", read)
        assert isinstance(found, completion.Completion)
        return found

    async def _read(
        self,
        ctx: Context,
        tool: str,
        arguments: dict[str, Any],
        what: str,
        read: Callable[[ScaleApi], Awaitable[Any]],
    ) -> Any:
        card = cards()[tool]
        request = check(card, arguments)
        house, persona = self._house, self._persona

        async def output(api: ScaleApi) -> ToolOutput:
            return _Whole(value=await read(api))

        async with written_down(
            house.recorder,
            house.tally,
            visit_of_this_request(),
            tool=tool,
            risk="read",
            arguments={**arguments, "read_as": what},
            request_id=request_id(),
            ctx=ctx,
            meta=ctx.meta,
        ) as step:
            try:
                account = (await house.router.candidates(persona, card, request))[0]
                await self._desk.confinement.admit(card, request, account.api)
                step.entry.decision("allowed", card.scope)
                await house.budgets.take(persona, card, request, account.kind)
                served = await house.router.run(persona, card, request, output, what=what)
            except ToolFailure as refusal:
                step.outcome = refusal.code
                raise
            except ScaleError as error:
                step.outcome = type(error).__name__
                raise self._desk.confinement.uniform(card, request, error) from None
            step.outcome, step.connection = "ok", served.connection
            return served.output.value  # type: ignore[attr-defined]
