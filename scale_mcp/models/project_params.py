"""Default parameters of a project: checked as the tasks that will inherit them would be."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from scale_mcp.models.checks import Problem, problems_in
from scale_mcp.models.wording import near_miss

if TYPE_CHECKING:
    from scale_mcp.models.task_requests import TaskRequest

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_OF_ONE_TASK = ("project", "batch", "unique_id", "extra_params", "project_version", "clear_unique_id_on_error")


def is_task_parameter(name: str) -> bool:
    """Whether any task type knows a parameter of this name."""
    return any(name in request.model_fields for request in _requests().values())


def problems_with_params(params: Any, task_type: Any, where: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with the parameters of a project of ``task_type`` (None: any type).

    Unknown ones pass, since Scale keeps them, unless they look like a misspelling of a known one.
    """
    if not isinstance(params, dict):
        return
    known = _requests()
    types = [task_type] if isinstance(task_type, str) and task_type in known else list(known)
    for name, value in params.items():
        checks = [check for each in types if (check := _checks(each).get(name)) is not None]
        if name in _OF_ONE_TASK:
            yield Problem((*where, name), "belongs to a single task, not to a project; leave it out")
        elif name == "type":
            yield Problem((*where, name), "is no parameter: a project's type is set when it is created, for good")
        elif checks:
            yield from _problems_with(value, checks, (*where, name))
        elif meant := near_miss(str(name), sorted({known for each in types for known in _checks(each)})):
            yield Problem((*where, str(name)), f"is unknown here; did you mean `{meant}`?")


def _problems_with(value: Any, checks: list[TypeAdapter[Any]], where: tuple[str, ...]) -> Iterator[Problem]:
    """The problems by the check that finds the fewest: task types use some names for different things."""
    fewest: list[Problem] | None = None
    for check in checks:
        try:
            check.validate_python(value)
        except ValidationError as error:
            found = list(problems_in(error))
            fewest = found if fewest is None or len(found) < len(fewest) else fewest
        else:
            return
    for problem in fewest or ():
        yield Problem((*where, *problem.where), problem.text)


def _requests() -> dict[str, type[TaskRequest]]:
    """Loaded when parameters are first looked at: to read projects, nobody needs the models of all task types."""
    from scale_mcp.models.task_requests import REQUESTS

    return REQUESTS


@cache
def _checks(task_type: str) -> dict[str, TypeAdapter[Any]]:
    """A check for each parameter of a task type."""
    request = _requests()[task_type]
    return {
        name: TypeAdapter(field.rebuild_annotation(), config=_STRICT)
        for name, field in request.model_fields.items()
        if name not in _OF_ONE_TASK
    }
