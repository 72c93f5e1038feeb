"""Keeps a persona with a list of projects to them: in what it asks for, and in what it is told.

For such a persona a project, batch or task of another project is as if it did not exist: the same words, the same code,
and as many requests before them. Nothing of a call is sent before it is known that what it touches is the persona's.
``reach`` says for each tool how that is known. Cursors are sealed for every persona.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from scale_mcp.api.errors import Conflict, Forbidden, InvalidRequest, NotFound, ScaleError
from scale_mcp.hosting.reach import REACH, Reach
from scale_mcp.hosting.seals import CursorSeal
from scale_mcp.tools.card import ToolFailure
from scale_mcp.tools.visible import NotThere, named, not_there, visible

if TYPE_CHECKING:
    from scale_mcp.api import ScaleApi
    from scale_mcp.hosting.personas import Persona
    from scale_mcp.models.base import RequestModel
    from scale_mcp.tools.card import Card, ToolOutput

REMEMBERED = 10_000  # tasks and batches of one account whose project is known


class NameAProject(ToolFailure):
    """A call that would go over the whole account, by a persona with several projects."""

    code = "invalid_arguments"


class Home(Protocol):
    """Where a task lives."""

    @property
    def project(self) -> str | None: ...


class Homes(Protocol):
    """What is remembered of tasks from calls before, by any caller."""

    async def find(self, task_id: str) -> Home | None: ...


class Confinement:
    """What one persona may touch and see. Made for one record of the persona; a changed persona needs another."""

    def __init__(self, persona: Persona, seal_key: bytes, homes: Homes | None = None) -> None:
        """``seal_key`` has 32 bytes and is the same in every replica."""
        self.visible_projects: tuple[str, ...] | None = persona.projects or None
        self._seal = CursorSeal(seal_key, persona.id)
        self._homes = homes
        self._known: WeakKeyDictionary[ScaleApi, OrderedDict[tuple[str, str], str]] = WeakKeyDictionary()

    def offers(self, card: Card) -> bool:
        """Whether the tool is there at all for this persona."""
        if self.visible_projects is None:
            return True
        reach = REACH.get(card.name)
        return reach is not None and not reach.whole_account

    async def admit(self, card: Card, request: RequestModel, api: ScaleApi) -> RequestModel:
        """The request to run in its place: with the persona's only project filled in, and cursors opened.

        May read from Scale whose a task or batch is. Raises ``NotThere`` for what is not this persona's,
        ``NameAProject`` when it has to choose, ``BadCursor``; and Scale's errors when it cannot be asked.
        """
        reach = REACH.get(card.name, Reach(whole_account=True))
        if self.visible_projects is not None:
            request = self._chosen(reach, request)
            await self._check(reach, request, api)
        sealed = _value(request, reach.cursor)
        if not sealed:
            return request
        tool, scope = _list_of(card, reach, request)
        opened = self._seal.open(sealed, argument=reach.cursor, tool=tool, scope=scope)
        return request.model_copy(update={reach.cursor: opened})

    def confine(self, card: Card, request: RequestModel, output: ToolOutput) -> ToolOutput:
        """The result without what is of other projects, and with its cursor sealed. ``request`` is what ``admit`` gave.

        Raises ``NotThere`` when it is about one thing, and that is not this persona's.
        """
        reach = REACH.get(card.name, Reach(whole_account=True))
        changes: dict[str, Any] = {}
        if self.visible_projects is not None:
            self._check_told(reach, request, output)
            changes |= self._rows(reach, request, output)
            if owners := getattr(output, "project_names", None):
                changes["project_names"] = [name for name in owners if visible(name, self.visible_projects)]
        changes |= self._sealed(card, reach, request, output)
        return output.model_copy(update=changes) if changes else output

    def uniform(self, card: Card, request: RequestModel, error: ScaleError) -> Exception:
        """What Scale's refusal becomes: without a word that tells what exists outside of this persona's projects."""
        if self.visible_projects is None:
            return error
        if isinstance(error, NotFound):
            return self._not_there(REACH.get(card.name, Reach(whole_account=True)), request)
        if isinstance(error, Conflict):  # Scale names the task or project that has the id or name
            return Conflict("Scale answered 409: this name or id is taken.", status=409, request_id=error.request_id)
        return error

    # Arguments -------------------------------------------------------------------------------------------------------

    def _chosen(self, reach: Reach, request: RequestModel) -> RequestModel:
        """The request with a project, where it would be about the whole account without one."""
        if reach.demands and _value(request, reach.demands) is None:
            raise NameAProject(f"Give {reach.demands}: without it this would look through the whole account.")
        if not reach.choose or _value(request, reach.project) or _value(request, reach.batch):
            return request
        assert self.visible_projects is not None
        if len(self.visible_projects) > 1:
            either = f"`{reach.project}` or `{reach.batch}`" if reach.batch else f"`{reach.project}`"
            raise NameAProject(f"Give {either}: name one of your projects, {named(self.visible_projects)}.")
        return request.model_copy(update={reach.project: self.visible_projects[0]})

    async def _check(self, reach: Reach, request: RequestModel, api: ScaleApi) -> None:
        project = _value(request, reach.project)
        if project is not None and not visible(project, self.visible_projects):
            raise self._not_there(reach, request)
        if reach.told_by and not any(_value(request, name) is not None for name in reach.unless):
            return
        batch = _value(request, reach.batch)
        if batch is not None and not await self._mine("batch", batch, api):
            raise not_there("batch", batch)
        task = _value(request, reach.task)
        if task is not None and not (isinstance(task, str) and await self._mine("task", task, api)):
            raise self._not_there(reach, request)

    async def _mine(self, kind: str, name: str, api: ScaleApi) -> bool:
        """Whether a batch or task belongs to one of the persona's projects.

        Only a yes is remembered: somebody else's is looked up each time, as is what does not exist, so that the time
        an answer takes does not tell them apart.
        """
        known = self._known.setdefault(api, OrderedDict())
        if visible(known.get((kind, name)), self.visible_projects):
            known.move_to_end((kind, name))
            return True
        home = await self._homes.find(name) if kind == "task" and self._homes is not None else None
        project = home.project if home is not None else None
        if not visible(project, self.visible_projects):
            try:
                project = (await (api.tasks if kind == "task" else api.batches).get(name)).project
            except (NotFound, InvalidRequest, Forbidden):
                return False
        if project is None or not visible(project, self.visible_projects):
            return False
        known[kind, name] = project
        if len(known) > REMEMBERED:
            known.popitem(last=False)
        return True

    def _not_there(self, reach: Reach, request: RequestModel) -> NotThere:
        """The refusal of a call, whatever of it is not there and why."""
        if (task := _value(request, reach.task)) is not None:
            return _no_file(task, _value(request, reach.file)) if reach.file else not_there("task", str(task))
        if (batch := _value(request, reach.batch)) is not None:
            return not_there("batch", batch)
        if (project := _value(request, reach.project)) is not None:
            return not_there("project", project, self.visible_projects)
        return NotThere("What this is about is not here. Check the ids and names.")

    # Results ---------------------------------------------------------------------------------------------------------

    def _check_told(self, reach: Reach, request: RequestModel, output: ToolOutput) -> None:
        if reach.told_by and not any(_value(request, name) is not None for name in reach.unless):
            if not visible(getattr(output, reach.told_by, None), self.visible_projects):
                raise self._not_there(reach, request)
            return
        told = getattr(output, "project", None)  # where no look before can have missed it, a second look costs nothing
        if isinstance(told, str) and not visible(told, self.visible_projects):
            raise self._not_there(reach, request)

    def _rows(self, reach: Reach, request: RequestModel, output: ToolOutput) -> dict[str, Any]:
        """The listed rows that are the persona's, and how many there are then."""
        rows = getattr(output, "docs", None)
        if not isinstance(rows, list) or not (reach.rows_by or reach.rows_of):
            return {}
        common = getattr(output, "common", None) or {}
        kept = [row for row in rows if self._row_is_mine(reach, request, row, common)]
        if len(kept) == len(rows):
            return {}
        total = getattr(output, "total", None)
        return {"docs": kept, "total": total - (len(rows) - len(kept)) if total is not None else None}

    def _row_is_mine(self, reach: Reach, request: RequestModel, row: Any, common: dict[str, Any]) -> bool:
        if reach.rows_of:
            return bool(getattr(row, reach.rows_of, None) == _value(request, reach.rows_of))
        project = getattr(row, reach.rows_by, None) or common.get(reach.rows_by)
        # Long pages leave columns out. What was asked for was one project, so it is that one's.
        return project is None or visible(project, self.visible_projects)

    def _sealed(self, card: Card, reach: Reach, request: RequestModel, output: ToolOutput) -> dict[str, Any]:
        """The cursor as this persona may use it again, where it stands and in the words around it."""
        field = reach.following or reach.cursor
        following = getattr(output, field, None) if field else None
        if not following:
            return {}
        tool, scope = _list_of(card, reach, request)
        sealed = self._seal.seal(following, tool=tool, scope=scope)
        changes = {field: sealed}
        if note := getattr(output, "note", None):
            changes["note"] = note.replace(f"{reach.cursor} {following}", f"{reach.cursor} {sealed}")
        return changes


def _no_file(task: str, file: str) -> NotThere:
    return NotThere(f'There is no task "{task}" with a result file "{file}" here. Check both ids.')


def _value(request: RequestModel, argument: str) -> Any:
    """An argument of the request, or what it sends under that name among its further parameters."""
    if not argument:
        return None
    value = getattr(request, argument, None)
    return value if value is not None else (getattr(request, "extra_params", None) or {}).get(argument)


def _list_of(card: Card, reach: Reach, request: RequestModel) -> tuple[str, tuple[str, ...]]:
    """What list a cursor belongs to: the tool's, and of which project and batch."""
    if reach.shares:
        return reach.shares, ()
    return card.name, tuple(str(_value(request, argument) or "") for argument in (reach.project, reach.batch))
