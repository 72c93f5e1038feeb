"""What every command's module starts from."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class ReadableCommand(TyperCommand):
    """A command whose docstring may be wrapped for the reader of the code: its paragraphs flow, its tables stay."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.help = flow(self.help or "")


class ReadableGroup(TyperGroup):
    """The same for a command that has commands."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.help = flow(self.help or "")


def flow(text: str) -> str:
    """Join the lines of each paragraph, except where a line is indented: that is an example or a table."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(part if "\n " in part else part.replace("\n", " ") for part in paragraphs)


def new_app() -> typer.Typer:
    """The Typer of one command. Pretty tracebacks are off: they print local variables, the key among them."""
    return typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


def new_group() -> typer.Typer:
    """The Typer of a command that has commands: ``scale-mcp connection add``. Its callback's docstring is its help."""
    return typer.Typer(
        cls=ReadableGroup,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
