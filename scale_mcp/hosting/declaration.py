"""Reading ``personas.toml``: who may do what, as one file that can be reviewed, kept and applied again.

    [rates]                      what a task of a type is expected to cost
    [claims]                     which login is which persona
    [defaults]                   for every persona below that does not say otherwise
    [[persona]]                  one for each
    [[webhook]]                  where events go

Everything that is wrong with a file is told at once, and nothing of it is guessed: a misspelt scope or key stops it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.persona_checks import problems_with
from scale_mcp.hosting.personas import Budget, Confirm, Persona, Route, When
from scale_mcp.hosting.rates import RateCard, problems_with_rates
from scale_mcp.models.checks import Checked, problems_in, refuse
from scale_mcp.models.field_types import Text
from scale_mcp.tools.arguments import place

if TYPE_CHECKING:
    from scale_mcp.hosting.events.webhook_records import Webhook

LARGEST = 4_000_000  # bytes of a file


class DeclarationError(OperatorError):
    """A file that cannot be applied. One line for each thing that is wrong with it."""


@dataclass(frozen=True)
class Declaration:
    """What a file says. None: it has no such section, and what there is stays as it is."""

    personas: tuple[Persona, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    claims: Mapping[str, str] | None = None  # value → persona's name
    rates: RateCard | None = None


def _money(value: Any) -> Any:
    """A number as it was written: 0.1 is a tenth, not what a binary fraction makes of it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise refuse("must be a number, such as 12.50")
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise refuse("must be a number, such as 12.50") from None


Money = Annotated[Decimal, BeforeValidator(_money)]


class _When(Checked):
    toolsets: list[str] = Field(default_factory=list)
    tools: list[str] = Field(default_factory=list)
    task_types: list[str] = Field(default_factory=list)
    projects: list[str] = Field(default_factory=list)


class _Route(Checked):
    connection: Text
    when: _When = Field(default_factory=_When)
    fallback: bool = False

    def record(self) -> Route:
        return Route(self.connection, When(**_tuples(self.when)), self.fallback)


class _Budget(Checked):
    calls_per_day: int | None = None
    tasks_per_day: int | None = None
    cost_per_day: Money | None = None
    calls_per_minute: int | None = None


class _Defaults(Checked):
    scopes: list[str] = Field(default_factory=list)
    tools: list[str] = Field(default_factory=list)
    deny: list[str] = Field(default_factory=list)
    projects: list[str] = Field(default_factory=list)
    read_only: bool = False
    confirm: Confirm = "auto"
    confirm_risk: Literal["write", "spend", "destroy"] = "destroy"
    budget: _Budget = Field(default_factory=_Budget)
    routes: list[_Route] = Field(default_factory=list)
    models: list[str] = Field(default_factory=list)


class _Persona(_Defaults):
    name: str
    purpose: str = ""
    disabled: bool = False

    def record(self, defaults: _Defaults) -> Persona:
        """The persona, with what it does not say taken from the defaults; of its budget each limit by itself."""
        said = {
            name: getattr(self if name in self.model_fields_set else defaults, name) for name in _Defaults.model_fields
        }
        limits = {**defaults.budget.model_dump(exclude_unset=True), **self.budget.model_dump(exclude_unset=True)}
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
        }
        fields |= {"budget": Budget(**limits), "routes": tuple(route.record() for route in said["routes"])}
        return Persona(id="", name=self.name, purpose=self.purpose, disabled=self.disabled, declared=True, **fields)


class _Webhook(Checked):
    name: Text
    url: Text
    kinds: list[str] = Field(default_factory=list)
    connections: list[str] = Field(default_factory=list)
    projects: list[str] = Field(default_factory=list)
    private_host: Text | None = None
    disabled: bool = False

    def record(self) -> Webhook:
        from scale_mcp.hosting.events.webhook_records import Webhook

        fields: dict[str, Any] = {name: getattr(self, name) for name in ("name", "url", "private_host", "disabled")}
        fields |= _tuples(self, "kinds", "connections", "projects")
        return Webhook(**fields, declared=True)


class _File(Checked):
    rates: dict[str, Money] | None = None
    claims: dict[Text, str] | None = None
    defaults: _Defaults = Field(default_factory=_Defaults)
    persona: list[_Persona] = Field(default_factory=list)
    webhook: list[_Webhook] = Field(default_factory=list)


def read_file(path: Path) -> Declaration:
    """What the file at ``path`` declares. Raises ``DeclarationError``."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DeclarationError(f"{path} cannot be read: {problem.strerror}.") from None
    if len(content) > LARGEST:
        raise DeclarationError(f"{path} has more than {LARGEST:,} bytes, which no declaration needs.")
    try:
        return read_text(content.decode())
    except UnicodeDecodeError:
        raise DeclarationError(f"{path} is not text in UTF-8.") from None


def read_text(text: str) -> Declaration:
    """What a TOML text declares. Raises ``DeclarationError``."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise DeclarationError(f"This is not TOML: {problem}.") from None
    try:
        file = _File.model_validate(raw)
    except ValidationError as error:
        problems = [f"{_where(problem.where, raw)} {problem.text}." for problem in problems_in(error)]
        raise DeclarationError("\n".join(problems)) from None
    personas = tuple(each.record(file.defaults) for each in file.persona)
    problems = list(_problems(personas, file))
    if problems:
        raise DeclarationError("\n".join(problems))
    return Declaration(
        personas=personas,
        webhooks=tuple(each.record() for each in file.webhook),
        claims=file.claims,
        rates=RateCard(file.rates) if file.rates is not None else None,
    )


def _problems(personas: tuple[Persona, ...], file: _File) -> Iterator[str]:
    for persona in personas:
        yield from (f"persona {persona.name!r}: {problem}" for problem in problems_with(persona))
    yield from _repeated("persona", [persona.name for persona in personas])
    yield from _repeated("webhook", [webhook.name for webhook in file.webhook])
    yield from problems_with_rates(file.rates or {})


def _repeated(what: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{what} {name!r} is declared more than once; declare it once."


def _where(where: tuple[str | int, ...], raw: dict[str, Any]) -> str:
    """``persona 'night-shift': `scopes[0]` ``: people know their personas by name, not by number."""
    if len(where) > 1 and where[0] in ("persona", "webhook") and isinstance(where[1], int):
        listed = raw[str(where[0])]
        entry = listed[where[1]] if isinstance(listed, list) and where[1] < len(listed) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        label = f"{where[0]} {name!r}" if isinstance(name, str) else f"{where[0]} number {where[1] + 1}"
        return f"{label}: `{place(where[2:])}`" if where[2:] else f"{label}"
    return f"`{place(where)}`"


def _tuples(model: Checked, *names: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(getattr(model, name)) for name in names or type(model).model_fields}
