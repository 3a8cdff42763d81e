"""What several commands take, and how it is read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from datagen import objects


def path(text: str) -> Path:
    """A path that was given; an empty one, as of a variable that is not set, would be the current folder."""
    if not text.strip():
        raise typer.BadParameter("it is empty: give a path, or . for the current folder")
    if text.strip().partition("://")[0].lower() in objects.SCHEMES and "://" in text:
        raise typer.BadParameter(
            f"{text} is on an object store, and this takes a path: copy it to this machine first, with rclone or the "
            "store's own client"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~name of nobody
        raise typer.BadParameter(f"{text}: {error}") from error


def run_place(text: str) -> Path:
    """A run directory that was given, or the address of one on an object store, of which a folder here has copies."""
    if not objects.is_address(text):
        return path(text)
    from datagen import store

    return store.copy_of(objects.parse(text))


def dollars(text: str) -> float:
    """An amount that can be compared with a bill; NaN cannot."""
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not amount >= 0:
        raise typer.BadParameter(f"{text!r} is no amount of dollars: give 0 or more, e.g. 2.50")
    return amount


# What several commands take.
RecipeName = Annotated[str, typer.Argument(help="Name of a recipe (datagen list recipes) or path of a .toml file.")]
ProfileName = Annotated[str, typer.Option(help="One of the recipe's; auto takes what this machine serves.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value, e.g. prompts.count=8."),
]
MaxCost = Annotated[
    float | None, typer.Option(parser=dollars, metavar="DOLLARS", help="Dollars that all LLM calls in --out may cost.")
]
Batch = Annotated[
    bool, typer.Option("--batch", help="Ask the LLM through OpenAI's Batch API: half the price, hours to wait.")
]
