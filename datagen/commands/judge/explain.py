"""A page with the images that each judge likes best and least, and those that judges dispute most.

One HTML file that asks nothing of the network. Thumbnails are small and few, so that its size is bounded. An image
that a judge of harm flags, or whose table says that it shows a harm, keeps its place and is not shown, nor is its
prompt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from datagen import store
from datagen.commands.judge import chosen
from datagen.commands.judge.chosen import Opinion, Seen
from datagen.commands.judge.merge import Summary
from datagen.commands.judge.report import short
from datagen.commands.judge.shards import Parts
from datagen.report import look, thumbnails
from datagen.tables.items import Item

TEMPLATE = Path(__file__).with_suffix(".html")
LONGEST = 300  # characters of a text
FLAGGED = "a judge of harm flags it"
HARMFUL = "its table says that it shows a harm"
GONE = "it is no longer there"


@dataclasses.dataclass(frozen=True)
class Mark:
    """One judge's number of an image: as text, and where it lies between its least and greatest, in per cent."""

    judge: str
    text: str
    place: float | None


@dataclasses.dataclass(frozen=True)
class Card:
    """One image as the page shows it; `withheld` says why it is not shown."""

    path: str
    prompt: str
    marks: list[Mark]
    picture: str
    withheld: str


def write(parts: Parts, shards: int, summary: Summary, items: Iterable[Item], title: str, out: Path) -> None:
    """Write the page; `items` are the images of the input once more."""
    opinions, disputed = chosen.choose(parts, shards)
    wanted = {image for one in opinions for image in (*one.best.images, *one.worst.images)} | {*disputed.images}
    seen = chosen.look_up(parts, shards, opinions, wanted)
    pictures = _pictures(items, seen)
    cards = {image: _card(one, opinions, *pictures.get(image, ("", GONE))) for image, one in seen.items()}
    text = look.template(TEMPLATE).render(
        title=title,
        summary=summary,
        reasons=summary.reasons.most_common(),
        opinions=[
            {
                "judge": one.judge,
                "version": one.judge.version,
                "numbers": one.numbers,
                "heights": [round(100 * count / max(one.numbers.bins)) for count in one.numbers.bins],
                "column": column,
                "best": [cards[image] for image in one.best.images],
                "worst": [cards[image] for image in one.worst.images],
            }
            for column, one in enumerate(opinions)
            if one.numbers.count
        ],
        disputed=[cards[image] for image in disputed.images],
        short=short,
    )
    store.write_file(out, lambda file: file.write(text.encode("utf-8", "backslashreplace")))


def _card(seen: Seen, opinions: list[Opinion], picture: str, withheld: str) -> Card:
    marks = [
        Mark(one.judge.name, short(number), _place(number, one))
        for number, one in zip(seen.numbers, opinions, strict=True)
        if number == number
    ]
    return Card(_cut(seen.path), "" if withheld else _cut(seen.prompt), marks, picture, withheld)


def _place(number: float, one: Opinion) -> float | None:
    width = one.numbers.high - one.numbers.low
    return round(100 * (number - one.numbers.low) / width, 1) if width > 0 else None


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _pictures(items: Iterable[Item], seen: dict[int, Seen]) -> dict[int, tuple[str, str]]:
    """Of each chosen image its picture as an address, or why it is not shown; reads no further than the last."""
    found, last = dict[int, tuple[str, str]](), max(seen, default=-1)
    for image, item in enumerate(items):
        if image > last:
            break
        if image not in seen or item.path != seen[image].path:
            continue
        if seen[image].flagged or item.harmful:
            found[image] = "", HARMFUL if item.harmful else FLAGGED
        elif item.source is not None:
            found[image] = _thumbnail(item.source)
    return found


def _thumbnail(source: bytes | Path) -> tuple[str, str]:
    made = thumbnails.small(source)
    return ("", made) if isinstance(made, str) else (thumbnails.address(made), "")
