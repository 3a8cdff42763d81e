"""A program's command line, made by typer from the options of its settings.

Flags win over --set, --set wins over --config. All values reach the settings as they were typed: what is accepted is
said in one place, the fields. Nothing here is abbreviated or guessed: a prefix of a flag is an unknown flag.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from datagen.console.command_line import Command
from training.errors import TrainingError
from training.settings import reading
from training.settings.fields import Option
from training.settings.reading import Given, Values


class GroupedCommand(Command):
    """Our command with plain help (rich takes a second to load), one section a group."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options under the headings of their groups."""
        of_group = itertools.groupby(self.get_params(ctx), lambda p: getattr(p, "rich_help_panel", None))
        for heading, members in of_group:
            with formatter.section(heading or "Settings from elsewhere"):
                records = (param.get_help_record(ctx) for param in members)
                formatter.write_dl([record for record in records if record])


@dataclasses.dataclass(frozen=True)
class Program:
    """A command line: what is offered, and how it is read."""

    name: str
    about: str
    options: tuple[Option, ...]

    def read(self, arguments: Sequence[str] | None = None) -> Values:
        """The values of a command line and of the file that it may name. Raises TrainingError; exits for --help."""
        line = self._spelled_out(sys.argv[1:] if arguments is None else arguments)
        try:
            typed = self._app()(line, prog_name=self.name, standalone_mode=False)
        except typer.TyperException as error:
            raise TrainingError(self._said(error)) from error
        if not isinstance(typed, dict):  # --help was printed
            raise SystemExit(0)
        file = reading.from_file(typed["config"], self.options) if typed["config"] else {}
        flags = {
            option.key: Given([part for part in value if part] if option.is_list else value, option.flag)
            for option in self.options
            if (value := typed[option.name]) is not None
        }
        return {**file, **reading.from_overrides(typed["set"] or (), self.options), **flags}

    def _app(self) -> typer.Typer:
        """A typer program with one command, whose parameters are the options."""

        def typed(**values: Any) -> dict[str, Any]:
            return values

        names = [option.name for option in self.options]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two settings of {self.name} have the name {twice.pop()!r}")
        extra = [
            _parameter("config", str, "--config", metavar="NAME|FILE", help="A TOML file; flags win over it."),
            _parameter("set", list[str], "--set", metavar="GROUP.KEY=VALUE", help="One setting; wins over the file."),
        ]
        vars(typed)["__signature__"] = inspect.Signature([*map(_of_option, self.options), *extra])
        app = typer.Typer(
            add_completion=False,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        app.command(cls=GroupedCommand, help=self.about)(typed)
        return app

    def _spelled_out(self, arguments: Sequence[str]) -> list[str]:
        """The line with today's names for flags, and `--seeds 0 1` as `--seeds=0 --seeds=1`."""
        lists = {option.flag for option in self.options if option.is_list}
        line: list[str] = []
        words = list(arguments)
        while words:
            flag, equals, value = words.pop(0).partition("=")
            if flag.startswith("--"):
                flag = reading.renamed(flag, "-")
            if flag not in lists or equals:
                line.append(f"{flag}{equals}{value}")
                continue
            given = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
            del words[: len(given)]
            line += [f"{flag}={word}" for word in given] or [f"{flag}="]  # none at all: an empty list
        return line

    def _said(self, error: typer.TyperException) -> str:
        """typer's message in a line, with the nearest known flag for one that is not."""
        name = getattr(error, "option_name", None)
        known = [option.flag for option in self.options]
        if name and "No such option" in error.format_message():
            return f"{name} is an unknown option; {reading.nearest(name, known)} (see --help)"
        return f"{error.format_message().rstrip('.')} (see --help)"


def _of_option(option: Option) -> inspect.Parameter:
    notes = [note for note in (option.bounds, f"default: {option.default}" if option.default else "") if note]
    help = f"{option.help} [{'; '.join(notes)}]" if notes else option.help
    more = {"help": help, "metavar": option.value or None, "rich_help_panel": option.heading}
    if option.is_switch:
        return _parameter(option.name, bool, f"{option.flag}/--no-{option.flag[2:]}", **more)
    return _parameter(option.name, list[str] if option.is_list else str, option.flag, **more)


def _parameter(name: str, kind: Any, flags: str, **more: Any) -> inspect.Parameter:
    annotation = Annotated[kind | None, typer.Option(flags, **more)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
