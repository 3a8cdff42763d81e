"""The README of an export: who reads it and how, what is in it and what was left out, and what is to be known of it.

It is written last and ends with the hash of the pairs, so that a folder with it is a whole export.
"""

from __future__ import annotations

import dataclasses
import html
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from datagen import store
from datagen.export import Finished
from datagen.export.card import words
from datagen.recipe import FOUND

FILE = "README.md"
STAMP = re.compile(r"^<!-- ([^ ]+) made from: ([^ ]+) -->$", re.M)
CONTROL = "CONTROL ARM: labels are wrong on purpose, {} exchanged."


@dataclasses.dataclass(frozen=True)
class About:
    """What a format says of itself: its module, who reads it, what it holds, and how it is loaded from FOLDER."""

    module: str
    read_by: str
    holds: str
    loads: str

    def stamp(self, folder: Path) -> str | None:
        """The hash of the pairs that an export was made from; None if there is no whole one in this format."""
        try:
            found = STAMP.search((folder / FILE).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError):
            return None
        return found[2] if found and found[1] == self.module else None


def write(finished: Finished, folder: Path, about: About, kept: Counter[str], left: Mapping[str, int]) -> None:
    """Write the README of a folder whose files are all there."""
    recipe, profile = finished.recipe, finished.profile
    judges = ", ".join(judge.name for judge in profile.judges)
    facts = {
        "read by": about.read_by,
        "holds": about.holds,
        "from": f"recipe `{cell(recipe.name)}`, seed {recipe.seed}, pairing `{recipe.pairing}`",
        "pairs": ", ".join(f"{kept[split]:,} {split}" for split in ("train", "test") if kept[split]) or "none",
        "left out here": counted(left),
        "dropped by the run": counted(finished.drops),
        "drawn by": "not known: the images were found" if profile.model == FOUND else cell(profile.model),
        "labelled by": f"models, not people: {cell(judges) or 'no judge'}",
        "licence": cell(recipe.license_of(profile)),
        "marked": finished.mark.says,
    }
    control = {"random": "half of the pairs", "swapped": "all pairs"}.get(finished.control)
    lines = [
        f"# {cell(recipe.name)}\n",
        *([f"**{CONTROL.format(control)}**\n"] if control else []),
        *([f"{cell(recipe.description)}\n"] if recipe.description else []),
        *(f"- {what}: {how}" for what, how in facts.items()),
        f"\n```python\n{about.loads}\n```\n",
        words.HARM,
        "The labels are automatic; the card of the run's own dataset says how far they can be trusted.\n",
        f"<!-- {about.module} made from: {finished.content} -->\n",
    ]
    store.write_file(folder / FILE, lambda file: file.write("\n".join(lines).encode()))


def counted(counts: Mapping[str, int]) -> str:
    """Reasons with their counts in words."""
    return ", ".join(f"{count:,} × {cell(what)}" for what, count in counts.items() if count) or "none"


def cell(text: str) -> str:
    """Text of any origin made harmless in Markdown."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "&#124;").replace("`", "&#96;")
