"""The columns of tables with two images a row: who publishes pairs, and under which names.

One list for judging, evaluation and training. A layout is known by its two image columns; of several columns that may
hold the same thing the first that is there counts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from datagen.tables import cells

PROMPTS = ("prompt", "caption", "text")  # how tables of single images name the column of texts
FILE_NAME = "_file_name"
HAS_LABEL = "has_label"  # of Pick-a-Pic: false where nobody compared the two
KIND, HARM = "kind", "avoid"  # of our own pairs: the rejected image shows a harm
WORDS = {"first": 1.0, "second": 0.0, "tie": 0.5}  # what a cell may say of a pair


@dataclasses.dataclass(frozen=True)
class Layout:
    """The columns of a pair: `first` and `second` image, prompt, and pairs of `labels`, the better image's is higher.

    Without labels the first image is the better one, as its column's very name says.
    """

    first: str
    second: str
    prompts: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def images(self) -> tuple[str, str]:
        """Both image columns."""
        return self.first, self.second

    def prompt(self, has: Callable[[str], bool]) -> str | None:
        """The column of prompts of a table that `has` some columns."""
        return next((name for name in self.prompts if has(name)), None)

    def label(self, has: Callable[[str], bool]) -> tuple[str, str] | None:
        """The columns of labels of such a table."""
        return next((names for names in self.labels if all(map(has, names))), None)


_BY_NUMBER = (("label_0", "label_1"),)
OURS = Layout("chosen", "rejected", ("prompt", "caption"))  # also open-image-preferences and many others
PICK_A_PIC = Layout("jpg_0", "jpg_1", ("caption", "prompt"), _BY_NUMBER)  # also the sets of MaPO
LAYOUTS = (
    OURS,
    PICK_A_PIC,
    Layout("image_0", "image_1", PROMPTS, _BY_NUMBER),
    Layout(  # Rapidata's
        "image1",
        "image2",
        PROMPTS,
        (
            ("weighted_results_image1_preference", "weighted_results_image2_preference"),
            ("votes_image1", "votes_image2"),
        ),
    ),
    Layout("image_a", "image_b", PROMPTS, (("label_a", "label_b"),)),
    Layout("path1", "path2", PROMPTS),  # HPDv3: the first was preferred
)
IMAGES = frozenset(name for layout in LAYOUTS for name in layout.images)
COLUMNS = frozenset(
    [*IMAGES, HAS_LABEL]
    + [name for layout in LAYOUTS for name in (*layout.prompts, *(label for both in layout.labels for label in both))]
)


def find(names: Collection[str]) -> Layout | None:
    """The layout of a table with these columns; None if it has no two image columns that are known.

    An ImageFolder's metadata name files in columns of their own: "chosen_file_name".
    """
    for layout in LAYOUTS:
        for ending in ("", FILE_NAME):
            if all(name + ending in names for name in layout.images):
                return dataclasses.replace(layout, first=layout.first + ending, second=layout.second + ending)
    return None


def known() -> str:
    """The image columns of all layouts, in words."""
    return "; ".join(" and ".join(layout.images) for layout in LAYOUTS)


def better(layout: Layout, values: Mapping[str, Any]) -> float | None:
    """How likely the first image is the better one by a row's labels: 1 or 0, 0.5 for a tie, shares of votes as such.

    None where nothing tells: no labels, a row that nobody compared, labels that are no numbers.
    """
    if not layout.labels:
        return 1.0
    names = layout.label(values.__contains__)
    if names is None or is_false(values.get(HAS_LABEL)):
        return None
    first, second = (number(values[name]) for name in names)
    if not (math.isfinite(first) and math.isfinite(second)):
        return None
    if first == second:
        return 0.5
    if first >= 0 and second >= 0 and math.isclose(first + second, 1.0, rel_tol=1e-5):
        return first
    return float(first > second)


def by_column(layout: Layout, column: str, values: Mapping[str, Any]) -> float | None:
    """How likely the first image is the better one by one column of a row; None where it says nothing.

    A column of images says that its own are better, one of two labels is read with the other. Unusable as `label_of`.
    """
    if is_false(values.get(HAS_LABEL)):
        return None
    if column in layout.images:
        return float(column == layout.first)
    if names := next((names for names in layout.labels if column in names), None):
        if all(name in values for name in names):
            return better(dataclasses.replace(layout, labels=(names,)), values)
        p = label_of(values.get(column), layout)
        return p if p is None or column == names[0] else 1 - p
    return label_of(values.get(column), layout)


def label_of(cell: Any, layout: Layout) -> float | None:
    """How likely the first image is the better one by a cell; None for an empty one, Unusable for what is no label.

    A label is a probability, yes or no, "first", "second", "tie" or the name of a column of images.
    """
    if isinstance(cell, bool):
        return float(cell)
    p = number(cell)
    if 0 <= p <= 1:
        return p
    if cell is None or isinstance(cell, float) and math.isnan(cell):
        return None
    text = str(cell).strip()
    if not text or text in cells.NOTHING:
        return None
    names = {name.removesuffix(FILE_NAME): 1.0 - place for place, name in enumerate(layout.images)}
    known = WORDS | {"true": 1.0, "false": 0.0} | names | {name + FILE_NAME: value for name, value in names.items()}
    if text.casefold() not in known:
        raise cells.Unusable(
            f"{text[:40]!r} is no label: give how likely the first image is the better one, 0 to 1, "
            f"or {', '.join([*WORDS, *names])}"
        )
    return known[text.casefold()]


def is_harmful(layout: Layout | None, values: Mapping[str, Any], column: str) -> bool:
    """Whether a row of our own says that its image in this column shows a harm."""
    return layout is not None and layout.first == OURS.first and column == layout.second and values.get(KIND) == HARM


def is_false(cell: Any) -> bool:
    """Whether a cell says no; those of CSV are texts."""
    return cell is False or str(cell).strip().lower() in ("false", "0", "0.0")


def number(cell: Any) -> float:
    """A cell as a number, NaN for what is none; those of CSV are texts."""
    try:
        return math.nan if cell is None else float(cell)
    except (TypeError, ValueError, OverflowError):
        return math.nan
