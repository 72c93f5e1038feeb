"""Studio: who works on which project, and which batch comes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from scale_mcp.models.field_types import Emails, Names
from scale_mcp.models.studio import Assignments, StudioBatch
from scale_mcp.text import clean_value
from scale_mcp.tools.card import Call, ToolFailure, ToolOutput, tool
from scale_mcp.tools.fitting import cell, compact, quoted, tokens
from scale_mcp.tools.outputs import DEFAULT_LIMIT, Entry, Listing, by_rows, entries, page_budget
from scale_mcp.tools.parameters import Offset

MOST_PROJECTS = 20  # of one person in a list


class AssignmentMap(ToolOutput):
    """Project names by e-mail address. People with very many projects are cut; ``note`` says so."""

    assignments: dict[str, list[str]]
    total: int = Field(description="People in all")
    has_more: bool = False
    next_offset: int | None = None
    note: str | None = None

    def text(self) -> str:
        of_all = f" of {self.total}" if self.total != len(self.assignments) else ""
        lines = [f"{len(self.assignments)}{of_all} people."]
        lines += [f"{email}\t{cell(projects, 300) or '(none)'}" for email, projects in self.assignments.items()]
        return "\n".join([*lines, *filter(None, [self.note])])


def _assignment_page(whole: Assignments, limit: int, offset: int) -> AssignmentMap:
    people = list(clean_value(whole).items())
    shown: dict[str, list[str]] = {}
    budget = page_budget(limit)
    cut = 0
    for email, projects in people[offset : offset + limit]:
        kept = [project[:80] for project in projects[:MOST_PROJECTS]]
        budget -= 2 * tokens(compact([email, kept]))
        if budget < 0 and shown:
            break
        shown[email] = kept
        cut += len(projects) > MOST_PROJECTS
    end = offset + len(shown)
    notes = [f"{len(people) - end} more people: get_studio_assignments with offset {end}."] if end < len(people) else []
    if cut:
        notes.append(f"{cut} people have more than {MOST_PROJECTS} projects; the rest of theirs is not shown.")
    return AssignmentMap(
        assignments=shown,
        total=len(people),
        has_more=end < len(people),
        next_offset=end if end < len(people) else None,
        note=" ".join(notes) or None,
    )


def _after_change(whole: Assignments, emails: Iterable[str], done: str) -> AssignmentMap:
    """The people that a change was about, with what they have now."""
    wanted = {email.casefold() for email in emails}
    mine = {email: projects for email, projects in whole.items() if email.casefold() in wanted}
    page = _assignment_page(mine, 100, 0)
    absent = sorted(wanted - {email.casefold() for email in mine})
    notes = [done, page.note, f"Not active in Studio: {', '.join(absent[:10])}." if absent else None]
    return page.model_copy(update={"note": " ".join(filter(None, notes))})


@tool(
    title="Get Studio assignments",
    toolset="studio",
    risk="read",
    keywords=("who works on", "who labels", "allocation", "staffing", "studio", "assigned"),
    action="SCALE_AI_GET_STUDIO_ASSIGNMENTS",
)
async def get_studio_assignments(call: Call, *, offset: Offset = 0) -> AssignmentMap:
    """See which Studio projects each active person is assigned to."""
    return _assignment_page(await call.api.studio.assignments(), DEFAULT_LIMIT, offset)


@tool(
    title="Assign people to Studio projects",
    toolset="studio",
    risk="write",
    idempotent=True,
    keywords=("assign", "give work", "staff", "allow", "studio", "add labeler to project"),
    action="SCALE_AI_ADD_STUDIO_ASSIGNMENTS",
)
async def add_studio_assignments(
    call: Call,
    *,
    emails: Annotated[Emails, Field(description="Whom to assign")],
    projects: Annotated[Names, Field(description="Project names")],
) -> AssignmentMap:
    """Assign each of these people to each of these Studio projects. Returns their assignments."""
    whole = await call.api.studio.add_assignments(emails, projects)
    return _after_change(whole, emails, f"Assigned {len(emails)} people to {len(projects)} projects.")


@tool(
    title="Take people off Studio projects",
    toolset="studio",
    risk="destroy",
    idempotent=True,
    consequence="These people lose their assignment to these projects at once.",
    keywords=("unassign", "take off", "remove from project", "revoke", "studio"),
    action="SCALE_AI_REMOVE_STUDIO_ASSIGNMENTS",
)
async def remove_studio_assignments(
    call: Call,
    *,
    emails: Annotated[Emails, Field(description="Whom to take off")],
    projects: Annotated[Names, Field(description="Project names")],
) -> AssignmentMap:
    """Take each of these people off each of these Studio projects, at once. Returns what they have left."""
    whole = await call.api.studio.remove_assignments(emails, projects)
    return _after_change(whole, emails, f"Took {len(emails)} people off {len(projects)} projects.")


class StudioBatchEntry(Entry):
    id: str | None = None
    name: str
    projectName: str | None = None  # noqa: N815 - Scale's spelling, here and below
    batchType: str | None = None  # noqa: N815
    studioPriority: float | None = None  # noqa: N815
    total: int | None = None
    completed: int | None = None
    groups: list[Any] | None = None


class StudioQueue(Listing):
    nouns: ClassVar[tuple[str, str]] = ("pending Studio batch", "pending Studio batches")

    docs: list[StudioBatchEntry]
    next_offset: int | None = None
    previous_order: list[str] | None = Field(None, description="Names in the order before")


def _queue(batches: Sequence[StudioBatch], offset: int = 0, **fields: Any) -> StudioQueue:
    columns = ("name", "projectName", "batchType", "studioPriority", "total", "completed", "groups", "id")
    return by_rows(StudioQueue, entries(batches, columns), offset=offset, go_on="get_studio_batches", **fields)


@tool(
    title="Get pending Studio batches",
    toolset="studio",
    risk="read",
    keywords=("queue", "order", "pending", "studio", "what is next", "urgent"),
    action="SCALE_AI_GET_STUDIO_BATCHES",
)
async def get_studio_batches(call: Call, *, offset: Offset = 0) -> StudioQueue:
    """List the pending Studio batches in the order they are worked on."""
    return _queue(await call.api.studio.batches(), offset=offset)


@tool(
    title="Order the Studio batches",
    toolset="studio",
    risk="write",
    idempotent=True,
    keywords=("reorder", "queue", "urgent first", "priority", "studio", "rank"),
    action="SCALE_AI_SET_BATCH_PRIORITIES",
)
async def set_studio_batch_priorities(
    call: Call,
    *,
    batch_names: Annotated[Names, Field(description="All pending batches, most urgent first")],
) -> StudioQueue:
    """Order the pending Studio batches: name every one of them (get_studio_batches), or nothing changes. Returns
    the new and old order."""
    pending = [batch.name for batch in await call.api.studio.batches()]
    if difference := _difference(batch_names, pending):
        raise ToolFailure(
            f"Nothing was changed: batch_names must name each pending Studio batch exactly once. {difference} "
            f"Pending now: {_names(pending)}."
        )
    batches = await call.api.studio.set_priorities(batch_names)
    return _queue(batches, note=f"The order before: {_names(pending)}.", previous_order=pending)


def _difference(wanted: Sequence[str], pending: Sequence[str]) -> str:
    problems = {
        "Missing": [name for name in pending if name not in wanted],
        "Not pending": [name for name in wanted if name not in pending],
    }
    return " ".join(f"{what}: {_names(names)}." for what, names in problems.items() if names)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name, 80) for name in names[:30])
    return (shown or "none") + (f" and {len(names) - 30} more" if len(names) > 30 else "")


@tool(
    title="Reset the order of Studio batches",
    toolset="studio",
    risk="destroy",
    idempotent=True,
    consequence="The order that people set by hand is lost.",
    keywords=("default order", "reset queue", "studio", "clear priorities"),
    action="SCALE_AI_RESET_BATCH_PRIORITIES",
)
async def reset_studio_batch_priorities(call: Call) -> StudioQueue:
    """Drop the hand-made order of Studio batches: calibration first, then oldest. Returns the new and old order."""
    before = [batch.name for batch in await call.api.studio.batches()]
    batches = await call.api.studio.reset_priorities()
    note = f"The order before: {_names(before)}. set_studio_batch_priorities can bring it back." if before else None
    return _queue(batches, note=note, previous_order=before)
