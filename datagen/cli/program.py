"""The program that every command is a part of."""

from __future__ import annotations

from typing import Annotated

import typer

from datagen import version
from datagen.console.command_line import Program

app = Program(
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich and what it reads take longer to load than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def datagen(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Preference datasets for text-to-image models, without human labels."""
    if show_version:
        print(f"datagen {version()}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
