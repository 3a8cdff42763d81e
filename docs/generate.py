"""Writes the generated blocks of docs/*.md: `python docs/generate.py`; with `--check` it says which are out of date.

A block stands between `<!-- generated: NAME -->` and `<!-- end -->`; BLOCKS says what renders it, from the code alone.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datagen.export import FORMATS
from training.losses import LOSSES
from training.settings import defaults, evaluation, export, sampling, training
from training.settings.fields import Option, of_group

DOCS = Path(__file__).resolve().parent
HEAD = ("option", "what it is", "accepted; default")
MARKED = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.S)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), ["---"] * len(list(head)), *map(list, rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def options(offered: Iterable[Option]) -> str:
    """The options of a program, a table a group."""
    made = []
    for group, members in groupby(offered, lambda option: option.group):
        listed = list(members)
        rows = [[f"`{spelled(option)}`", option.help, accepted(option)] for option in listed]
        made.append(f"`[{group}]` {listed[0].heading}:\n\n" + table(HEAD, rows))
    return "\n".join(made)


def spelled(option: Option) -> str:
    """The flag with its value."""
    value = f"{option.value} …" if option.is_list else option.value
    return f"{option.flag} {value}".strip()


def accepted(option: Option) -> str:
    """Bounds and default of an option."""
    if option.is_switch:
        return "off"
    default = f"`{option.default}`" if option.default and option.default != training.UNKNOWN else option.default
    return "; ".join(part for part in (option.bounds, default) if part)


def losses() -> str:
    """The losses, with their options and what they are trained with."""
    rows = [
        [name, listed(of_group("loss", loss.options, "")), pairs(loss.embedded), ways(loss.published)]
        for name, loss in LOSSES.items()
    ]
    head = ("`--method`", "options, and their defaults", "`--model embedded`", "published, for other models")
    parts = [
        [spelled, "", pairs(defaults.EMBEDDED_DEFAULTS[kind]), f"{pairs(common)} ({defaults.SOURCES[kind]})"]
        for kind, common in defaults.PUBLISHED_DEFAULTS.items()
        for spelled in ["`--lora-rank`" if kind == "lora" else f"`--part {kind}`"]
    ]
    return table(head, [*parts, *rows])


def listed(own: Iterable[Option]) -> str:
    """Options as `flag default`, with those bounds that are not plainly "at least 0"."""
    bounds = {option: f" ({option.bounds})" if option.bounds not in ("", ">= 0") else "" for option in own}
    return ", ".join(f"`{option.flag} {option.default}`{bound}" for option, bound in bounds.items())


def pairs(values: Mapping[str, object]) -> str:
    """Settings as they would be typed."""
    return ", ".join(f"`--{name.replace('_', '-')} {value}`" for name, value in values.items())


def ways(published: Mapping[str, Mapping[str, object]]) -> str:
    """What is published for each way of training."""
    return "; ".join(f"{way}: {pairs(values)}" for way, values in published.items())


def exports() -> str:
    """The formats that a run is exported to: who reads them, what they hold, and how they are loaded."""
    made = []
    for name, described in FORMATS.described():
        about = FORMATS.module(name).ABOUT
        says = f"{described}\n\n- read by: {about.read_by}\n- holds: {about.holds}\n"
        made.append(f"### `{name}`\n\n{says}\n```python\n{about.loads}\n```\n")
    return "\n".join(made)


BLOCKS: dict[str, Callable[[], str]] = {
    "options of training/run.py": lambda: options(training.PROGRAM.options),
    "options of training/evaluate.py": lambda: options(evaluation.PROGRAM.options),
    "options of training/sample.py": lambda: options(sampling.PROGRAM.options),
    "options of training/export.py": lambda: options(export.PROGRAM.options),
    "losses": losses,
    "exports": exports,
}


def rendered(text: str) -> str:
    """A page with its blocks as the code has them now."""
    return MARKED.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n{found[3]}", text)


def main() -> int:
    """0, or 1 with --check where a page is out of date."""
    parser = argparse.ArgumentParser(prog="python docs/generate.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="change nothing, say which pages are out of date")
    check = parser.parse_args().check
    stale = [page for page in sorted(DOCS.glob("*.md")) if rendered(page.read_text()) != page.read_text()]
    for page in stale:
        if check:
            print(f"docs/{page.name} differs from the code: run python docs/generate.py")
        else:
            page.write_text(rendered(page.read_text()))
    return int(bool(stale) and check)


if __name__ == "__main__":
    sys.exit(main())
