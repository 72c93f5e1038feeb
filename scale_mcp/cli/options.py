"""The settings as flags. A field of ``Settings`` is written down once, there; its flag is made from it here."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from pydantic import SecretStr

from scale_mcp.cli.console import Exit, stop
from scale_mcp.settings import Settings, SettingsError, flag, load_settings

ENVIRONMENT_ONLY = {"api_key", "master_keys", "metrics_token"}  # a key on a command line is in everybody's process list
Command = TypeVar("Command", bound=Callable[..., Any])


def takes_settings(fields: Mapping[str, Iterable[str]]) -> Callable[[Command], Command]:
    """Give a command one option per field (help panel → field names). They arrive in its ``**flags``."""

    def decorate(command: Command) -> Command:
        own = [
            parameter
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        made = [_option(name, panel) for panel, names in fields.items() for name in names]
        signature = inspect.Signature([*own, *made])
        command.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
        command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        return command

    return decorate


def all_fields(panels: Mapping[str, tuple[str, ...]], rest: str) -> dict[str, tuple[str, ...]]:
    """The panels, and every field that none of them names in one more panel: a new setting is never without a flag."""
    named = {name for names in panels.values() for name in names} | ENVIRONMENT_ONLY
    left = tuple(name for name in Settings.model_fields if name not in named)
    return {**panels, **({rest: left} if left else {})}


def settings_from(flags: Mapping[str, Any], *, serving: bool = False) -> Settings:
    """The settings of environment and flags; leaves with the reason when they cannot be used."""
    given = {name: value for name, value in flags.items() if value not in (None, [], ())}
    try:
        return load_settings(given, serving=serving)
    except SettingsError as error:
        stop(Exit.USAGE, str(error).replace("\n", "\nscale-mcp: "))


def _option(name: str, panel: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    switch_off = f"/--no-{flag(name).removeprefix('--')}" if field.default is True else ""
    option = typer.Option(
        f"{flag(name)}{switch_off}",
        help=f"{field.description}{_default(field.default)}",
        rich_help_panel=panel,
        metavar=None if typing.get_origin(field.annotation) is Literal else _metavar(field.annotation),
        hidden=bool(field.exclude),
        show_default=False,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[_type(field.annotation), option]
    )


def _default(value: Any) -> str:
    if value in (None, (), False):
        return ""
    return f" [dim](default {'on' if value is True else value})[/dim]"


def _type(annotation: Any) -> Any:
    """What typer reads for a field. Ranges and rules stay with the settings, whose messages name the cure."""
    plain = _without_none(annotation)
    if typing.get_origin(plain) is tuple:
        return list[str] | None
    if plain in (bool, int, float) or typing.get_origin(plain) is Literal:
        return plain | None
    return str | None


def _metavar(annotation: Any) -> str | None:
    plain = _without_none(annotation)
    if typing.get_origin(plain) is tuple:
        return "A,B,…"
    return {bool: " ", int: "N", float: "SECONDS", str: "TEXT", Path: "FOLDER", SecretStr: "URL"}.get(plain)


def _without_none(annotation: Any) -> Any:
    choices = [choice for choice in typing.get_args(annotation) if choice is not type(None)]
    return choices[0] if type(None) in typing.get_args(annotation) and len(choices) == 1 else annotation
