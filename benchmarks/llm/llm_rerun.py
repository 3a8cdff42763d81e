"""How many LLM calls a rerun makes: of a finished stage, after an edit of the templates, after an edit of the parsing.

`python -m benchmarks llm_rerun`. The server is a stub on loopback that writes from word lists; its texts go through
the whole pipeline, the embedded generator draws in two steps. The goal is 0, all and 0 calls. An edit of the parsing
is a raised version of the stage: its table is derived anew, from the replies that are there.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.support.results import Row, record
from benchmarks.support.stub_server import ChatServer, serving
from datagen import recipe as recipes
from datagen import store
from datagen.pipeline import build, plan
from datagen.writers import taxonomy, templates

SETTINGS = [
    "prompts.count=24",
    "llm.widen=5",
    *(f"profiles.embedded.{key}" for key in ("writer=llm", "steps=2", "judges=['world']")),
    "labels.min_probability=0",
    "labels.min_match=0",
]


def calls(server: ChatServer, out: Path) -> int:
    """Build the recipe in a directory; the calls that this took."""
    before = server.counts.total()
    build.run(recipes.load("pick-safety", SETTINGS), "embedded", out)
    return server.counts.total() - before


def edit_templates(folder: Path) -> None:
    """Put a copy of prompts/ in the place of ours, with a line more in every template."""
    shutil.copytree(recipes.PROMPTS, folder)
    for path in (folder / "templates").glob("*.md"):
        path.write_text(path.read_text(encoding="utf-8") + "\nOne rule more.\n", encoding="utf-8")
    holders: list[Any] = [recipes, taxonomy, templates]  # of the folder's name
    for holder in holders:
        holder.PROMPTS = folder


def raise_version() -> None:
    """As an edit of the parsing would: the rows of the prompts are derived anew."""
    plan.STAGES = tuple(
        dataclasses.replace(stage, version=stage.version + 1) if stage.name == "prompts" else stage
        for stage in plan.STAGES
    )


def main() -> int:
    """Print the figures; 1 if one is not the goal."""
    argparse.ArgumentParser(
        prog="python -m benchmarks llm_rerun", description=__doc__, allow_abbrev=False
    ).parse_args()
    with tempfile.TemporaryDirectory() as name, serving(writes=True) as (base_url, server):
        folder = Path(name)
        os.environ |= {"DATAGEN_LLM_BASE_URL": base_url, "DATAGEN_LLM_MODEL": "stub-model"}
        os.environ["DATAGEN_CACHE"] = str(folder / "cache")
        first = calls(server, folder / "out")
        table = store.Run(folder / "out").table("prompts", 0)
        finished = calls(server, folder / "out")
        raise_version()
        parsed = calls(server, folder / "out")
        same = store.Run(folder / "out").table("prompts", 0).select(["prompt_id"]) == table.select(["prompt_id"])
        edit_templates(folder / "prompts")
        edited = calls(server, folder / "edited")
    print("| run again | LLM calls | goal |\n|---|---|---|")
    print(f"| first run | {first} | |")
    print(f"| after the stage was finished | {finished} | 0 |")
    print(f"| after an edit of the templates | {edited} | all |")
    print(f"| after an edit of the parsing | {parsed} | 0, {'the same rows' if same else 'other rows'} |")
    rows = [
        Row("first run", first, "calls"),
        Row("again, after the stage was finished", finished, "calls", "= 0"),
        Row("again, after an edit of the templates", edited, "calls", f"≥ {0.9 * first:g}", note="goal: nearly all"),
        Row("again, after an edit of the parsing", parsed, "calls", "= 0"),
    ]
    record("llm_rerun", rows)
    return 0 if finished == parsed == 0 and same and edited >= 0.9 * first > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
