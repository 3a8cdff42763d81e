"""What every source of existing images gives: one `Item` an image, in an `Input` that says how many there are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from datagen.errors import InputError, nearest
from datagen.tables import cells, layouts
from datagen.tables.layouts import Layout

FILE_COLUMNS = ("image", "file", "file_name", "path")  # how tables name an image file, unless a column is asked for
# What an archive calls its pictures and texts, also where `datasets` made Parquet of it.
ARCHIVE_COLUMNS = ("jpg", "png", "webp")
ARCHIVE_PROMPTS = ("txt", *layouts.PROMPTS)
KEY = "__key__"  # of a sample in an archive
_ID = re.compile(r"(.+[-_])?(id|uid|uuid|guid|key|idx|index|md5|sha256)([-_]?[0-9ab])?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Item:
    """One image and its prompt; `path` says which, `error` why it cannot be judged.

    With a source and no prompt the image can be judged by those that read no text. Of a pair, `label` is how likely
    the first image is the better one, None where nothing tells. `ids` are what else identifies its row, `embeddings`
    what networks made of it before, by their identity. One that is `harmful` by its table is shown to nobody. `other`
    is a prompt of another image, where the two are to be told apart, `digest` that of a file that is not here itself.
    """

    path: str
    source: Path | bytes | None
    prompt: str | None
    error: str | None = None
    label: float | None = None
    ids: Mapping[str, str] = dataclasses.field(default_factory=dict)
    embeddings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    harmful: bool = False
    other: str | None = None
    digest: str | None = None


@dataclasses.dataclass(frozen=True)
class Input:
    """`total` images, their `items` as a stream, the `files` that these and their prompts are in, `notes` to say.

    `ids` are the names that an item's ids can have. Of a set of pairs, which has a `layout`, items come two a row,
    first and second image; `outline` reads its rows without images and prompts, an item for each first image, whose
    error is a label that cannot be read. `backbones` are the networks whose embeddings items have in the place of
    pictures.
    """

    total: int
    items: Iterator[Item]
    files: list[Path]
    notes: list[str]
    ids: tuple[str, ...] = ()
    layout: Layout | None = None
    outline: Callable[[], Iterator[Item]] | None = None
    backbones: tuple[str, ...] = ()

    @property
    def of_pairs(self) -> bool:
        """Whether items come two a row."""
        return self.layout is not None

    def pairs(self) -> Iterator[tuple[Item, Item]]:
        """The items of a set of pairs two by two, first and second image; InputError for an input of single images."""
        if not self.of_pairs:
            raise InputError(f"{self.files[0]} has one image a row; known pairs: {layouts.known()}")
        return zip(self.items, self.items, strict=True)  # one iterator twice: it is taken from in turn


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked for: columns by name, None for the usual ones; only pairs; prompts, where any judge reads them.

    `label` is a column that says which image of a pair is the better one.
    """

    image: str | None = None
    prompt: str | None = None
    pairs: bool = False
    texts: bool = True
    label: str | None = None

    def images(self, names: Iterable[str]) -> tuple[tuple[str, ...], Layout | None]:
        """The columns with images, and the layout if they are a pair's; () if there are none."""
        known = set(names)
        if self.image is not None:
            return ((self.image,) if self.image in known else ()), None
        layout = layouts.find(known)
        single = next((name for name in (*FILE_COLUMNS, *ARCHIVE_COLUMNS) if name in known), None)
        if layout is not None and (self.pairs or single != "image"):
            return layout.images, layout
        return ((single,) if single and not self.pairs else ()), None

    def prompts(self, names: Iterable[str], layout: Layout | None) -> str | None:
        """The column of prompts; None if there is none of the usual ones. What is asked for is not looked for."""
        known = set(names)
        if self.prompt is not None:
            return self.prompt
        if layout is not None:
            return layout.prompt(known.__contains__)
        return next((name for name in ("prompt", *ARCHIVE_PROMPTS) if name in known), None)

    def refusal(self, where: Any, names: Iterable[str], what: str = "") -> InputError:
        """What is said where no column of images is found; `what` it should hold."""
        if self.pairs:
            return InputError(
                f"{where} has no two columns of images that are known: {', '.join(names)}; known: {layouts.known()}"
            )
        name = "image" if self.image is None else self.image
        return InputError(
            f"{where} has no column {name!r}{what}; {nearest(name, names)}; name one with --image-column"
        )


def identifies(name: str) -> bool:
    """Whether a column of this name tells rows apart: an id, a key, an index."""
    return name == KEY or _ID.fullmatch(name) is not None


def with_prompt(item: Item, cell: Any) -> Item:
    """The item with the prompt of a table's cell, or with what is wrong with it."""
    try:
        return dataclasses.replace(item, prompt=cells.text_of(cell))
    except cells.Unusable as error:
        return dataclasses.replace(item, error=f"no prompt: {error}")


def ids_of(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """What identifies a row, as texts; what is neither text nor number is left out."""
    return {name: str(values[name]) for name in names if isinstance(values.get(name), str | int)}
