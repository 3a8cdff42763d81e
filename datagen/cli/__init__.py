"""The command line; the only place where an error becomes a message.

Results go to stdout, progress and errors to stderr. Exit code 0: done; 1: shards failed, rerun, or what was to be
printed cannot be written; 2: something given cannot be used; 130: interrupted, and nothing finished is lost. Heavy
imports wait inside the commands.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from typer.exceptions import TyperException

from datagen.cli import building, judging, showing
from datagen.cli.program import app
from datagen.console.streams import guarded
from datagen.errors import DatagenError

__all__ = ["app", "main"]
COMMANDS = (building, judging, showing)  # each puts its own into the program; the order is that of the help


def main() -> NoReturn:
    """The entry point of `datagen`."""
    sys.exit(guarded(_exit_code))


def _exit_code() -> int:
    """Do what the command line says."""
    try:
        code = app(prog_name="datagen", standalone_mode=False)
    except TyperException as error:
        return _end(f"{error.format_message()} ({_help_of(error)} lists what it takes)", 2)
    except DatagenError as error:
        return _end(str(error), error.exit_code)
    if code == 130:  # typer turns Ctrl-C into this
        print("interrupted: finished work is kept, the same command resumes", file=sys.stderr)
    return int(code or 0)


def _help_of(error: TyperException) -> str:
    """The command that shows what the refused one takes."""
    context = getattr(error, "ctx", None)
    return f"{'datagen' if context is None else context.command_path} --help"


def _end(message: str, code: int) -> int:
    """Say what is wrong in one line; the exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code
