"""typer's commands as every program of ours has them: what takes one value is given once.

The last of two values would win without a word, and whoever gave the first would never know.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.models import CommandFunctionType


class Command(TyperCommand):
    """A command that refuses an option given twice, unless it takes a list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """typer's, after that check."""
        refuse_repeated(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A command of commands; its own options likewise."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """typer's, after that check."""
        refuse_repeated(self, ctx, args)
        for param in self.get_params(ctx):
            # typer's own flags (--help, --show-completion) are None unless given, for which it loads pydantic: that
            # would be half of the time of any command's --help.
            if isinstance(param, TyperOption) and param.is_flag and param.default is None:
                param.default = False
        return super().parse_args(ctx, args)


class Program(typer.Typer):
    """typer's program of several commands, all of which are ours."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, **settings)

    def command(
        self, name: str | None = None, **settings: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """typer's decorator."""
        return super().command(name, **{"cls": Command, **settings})


def refuse_repeated(command: TyperCommand | TyperGroup, ctx: Any, args: list[str]) -> None:
    """Raise typer.BadParameter for the first option that stands twice in a line and takes one value.

    Likewise for a key that stands twice in the values of one that takes KEY=VALUE.
    """
    if ctx.resilient_parsing:  # a shell that completes a line
        return
    values, _, order = command.make_parser(ctx).parse_args(list(args))
    options = [param for param in order if isinstance(param, TyperOption) and not param.is_eager]
    for option, times in collections.Counter(options).items():
        if times > 1 and not option.multiple:
            raise typer.BadParameter("it is given more than once, and takes one value", ctx=ctx, param=option)
        if "=" in (option.metavar or ""):
            keys = [str(value).partition("=")[0].strip() for value in values[option.name]]
            if twice := next((key for key in keys if keys.count(key) > 1), None):
                raise typer.BadParameter(f"{twice} is given more than once", ctx=ctx, param=option)
