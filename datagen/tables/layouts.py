"""The columns of tables with two images a row: who publishes pairs, and under which names.

One list for judging, evaluation and training. A layout is known by its two image columns; of several columns that may
hold the same thing the first that is there counts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

PROMPTS = ("prompt", "caption", "text")  # how tables of single images name the column of texts
FILE_NAME = "_file_name"
HAS_LABEL = "has_label"  # of Pick-a-Pic: false where nobody compared the two


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


def is_false(cell: Any) -> bool:
    """Whether a cell says no; those of CSV are texts."""
    return cell is False or str(cell).strip().lower() in ("false", "0", "0.0")


def number(cell: Any) -> float:
    """A cell as a number, NaN for what is none; those of CSV are texts."""
    try:
        return math.nan if cell is None else float(cell)
    except (TypeError, ValueError, OverflowError):
        return math.nan
