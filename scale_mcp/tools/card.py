"""A tool is a typed function with a card: the data that every list, check and policy reads.

    @tool(title="Get a batch", toolset="batches", risk="read")
    async def get_batch(call: Call, *, batch_name: BatchName) -> BatchResult:
        "One batch: its project, its state, its metadata."

The first parameter is the ``Call``. What follows is either keyword parameters, from which the input model is
built, or one parameter annotated with a ``RequestModel``, which then *is* the input model (needed where rules
hold between parameters).
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, create_model

from scale_mcp.models.base import RequestModel
from scale_mcp.models.checks import Checked

if TYPE_CHECKING:
    from scale_mcp.api import ScaleApi
    from scale_mcp.tools.feed import EventFeed

Risk = Literal["read", "write", "spend", "destroy"]
Toolset = Literal["tasks", "batches", "projects", "files", "team", "studio", "quality", "work"]
Progress = Callable[[float, float | None, str], Awaitable[None]]

# What a call of each risk does, mildest first.
RISKS: dict[Risk, str] = {
    "read": "changes nothing",
    "write": "changes something that can be put back",
    "spend": "starts paid work, with a live key",
    "destroy": "cannot be undone",
}


async def no_progress(done: float, total: float | None, message: str) -> None:
    """Progress for callers that did not ask for it."""


@dataclass(frozen=True)
class Call:
    """What a tool may use: the Scale API of the caller's connection, progress, and the folders the operator opened."""

    api: ScaleApi
    progress: Progress = no_progress
    upload_root: Path | None = None  # upload_file may read below it; None: no local files at all
    download_root: Path | None = None  # get_task_response may save below it; None: nothing is saved
    visible_projects: Collection[str] | None = None  # the only projects that lists of projects may show; None: all
    events: EventFeed | None = None  # what happened where the caller may look; None: nobody keeps it here


class ToolOutput(BaseModel):
    """What a tool returns: ``structuredContent`` is the model, ``text()`` its short form for an agent to read."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())

    _next_step: str = PrivateAttr(default="")

    def text(self) -> str:
        raise NotImplementedError

    @property
    def next_step(self) -> str:
        """What usually comes next, in our own words alone: it stands outside the marks around foreign text."""
        return self._next_step

    def then(self, step: str) -> Self:
        """This result with its next step; "" leaves it out."""
        self._next_step = step
        return self


class ToolFailure(Exception):
    """An expected failure. The text goes to the agent: what happened, and what to do next.

    The rest goes to programs: a stable code, and whether and when (seconds) repeating the call can help.
    """

    code = "tool_failure"
    retryable = False
    retry_after: float | None = None


Handler = Callable[..., Awaitable[ToolOutput]]


@dataclass(frozen=True)
class Card:
    """A tool's data. ``name`` is the function's name, ``description`` its docstring.

    ``consequence`` is what a person reads before agreeing to a call: what is lost, or set in motion, for good. Every
    tool that destroys has one. ``final`` calls are asked about like destroying ones, though their risk is milder.
    """

    name: str
    title: str
    description: str
    toolset: Toolset
    risk: Risk
    handler: Handler = field(repr=False)
    idempotent: bool
    keywords: tuple[str, ...]  # words people use for it; only search reads them
    action: str | None  # slug of the original forty; None for the siblings
    takes_model: bool
    risk_of: Callable[[Any], Risk] | None = field(default=None, repr=False)  # refines the risk by checked arguments
    consequence: str = ""
    final: bool = False

    @cached_property
    def summary(self) -> str:
        """The first sentence of the description."""
        return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", self.description, maxsplit=1)[0]

    def risk_for(self, arguments: RequestModel) -> Risk:
        """The risk of one call: what the card says, unless its arguments make it milder."""
        return self.risk if self.risk_of is None else self.risk_of(arguments)

    @property
    def scope(self) -> str:
        return f"{self.toolset}:{self.risk}"

    @cached_property
    def input_model(self) -> type[RequestModel]:
        return _input_model(self.handler)

    @cached_property
    def output_model(self) -> type[ToolOutput]:
        model: type[ToolOutput] = typing.get_type_hints(self.handler)["return"]
        return model

    async def run(self, call: Call, arguments: RequestModel) -> ToolOutput:
        """Call the function with checked arguments."""
        if self.takes_model:
            return await self.handler(call, arguments)
        values = {name: getattr(arguments, name) for name in type(arguments).model_fields}
        return await self.handler(call, **values)


def tool(
    *,
    title: str,
    toolset: Toolset,
    risk: Risk,
    idempotent: bool | None = None,
    keywords: tuple[str, ...] = (),
    action: str | None = None,
    risk_of: Callable[[Any], Risk] | None = None,
    consequence: str = "",
    final: bool = False,
) -> Callable[[Handler], Card]:
    """Turn a function into its card. Reads are idempotent unless told otherwise, everything else is not."""

    def decorate(handler: Handler) -> Card:
        return Card(
            name=handler.__name__,
            title=title,
            description=" ".join((handler.__doc__ or "").split()),
            toolset=toolset,
            risk=risk,
            handler=handler,
            idempotent=risk == "read" if idempotent is None else idempotent,
            keywords=keywords,
            action=action,
            takes_model=_model_parameter(handler) is not None,
            risk_of=risk_of,
            consequence=consequence,
            final=final,
        )

    return decorate


def _parameters(handler: Handler) -> list[inspect.Parameter]:
    return list(inspect.signature(handler).parameters.values())[1:]  # the first one is the Call


def _model_parameter(handler: Handler) -> str | None:
    parameters = _parameters(handler)
    if len(parameters) == 1 and parameters[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return parameters[0].name
    return None


def _input_model(handler: Handler) -> type[RequestModel]:
    hints = typing.get_type_hints(handler, include_extras=True)
    if single := _model_parameter(handler):
        model: type[RequestModel] = hints[single]
        return model
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in _parameters(handler)
    }
    return create_model(f"{handler.__name__}_arguments", __base__=Checked, **fields)
