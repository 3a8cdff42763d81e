"""What all judges say of the images of a run, in columns, and which two of them meet: images are called by their rows.

A run has hundreds of thousands of them, of which objects take longer to make than labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datagen.labels import verdicts
from datagen.labels.rules import AXES, Met

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]  # of images, -1 for one that is not there
Texts = NDArray[np.object_]


@dataclasses.dataclass(frozen=True)
class Heard:
    """V images: `prompt` (V,) are places among the prompts, `leans` (V, J) by axis, `controls` (V, Q·J).

    `reason` is why an image can be in no pair, `share` how far it shows its own wording.
    """

    table: pa.Table
    prompt: Rows
    leans: Mapping[str, Numbers]
    controls: Numbers
    share: Numbers
    reason: Texts

    @staticmethod
    def of(images: pa.Table, prompts: pa.Table, judges: int) -> Heard:
        """A table of verdicts, of some of these prompts."""
        width = pc.max(pc.list_value_length(images["controls"])).as_py() or 0
        return Heard(
            images,
            pc.index_in(images["prompt_id"], prompts["prompt_id"].combine_chunks()).to_numpy().astype(np.int64),
            {axis: _matrix(images[axis], judges) for axis in AXES},
            _matrix(images["controls"], width),
            images["share"].to_numpy(),
            np.array(images["reason"].to_pylist(), dtype=object),
        )

    def margins(self, twos: Rows, by: str = "lean") -> Numbers:
        """(N, J): by how much each judge prefers the first of two images; NaN where it did not speak of both."""
        found: Numbers = self.leans[by][twos[:, 0]] - self.leans[by][twos[:, 1]]
        return found

    def met(self, twos: Rows) -> Met:
        """What the rules of a recipe look at."""
        one, other = self.reason[twos.T]
        wrong = np.where(one == None, other, one)  # noqa: E711
        return Met({axis: self.margins(twos, axis) for axis in AXES}, wrong, np.fmin(*self.share[twos.T]))

    def ids(self, rows: Rows) -> pa.Array:
        """The ids of images, "" for one that is not there."""
        places = pa.array(rows, mask=rows < 0)
        return pc.fill_null(self.table["image_id"].combine_chunks().take(places), "")

    def why_none(self, twos: Rows) -> Texts:
        """(N,) why nothing can be said of two images, as `pairing.why_none`; None where something can."""
        if not len(twos):
            return np.empty(0, dtype=object)
        reasons, names = self.reason[twos], np.stack([self.ids(side).to_numpy(False) for side in twos.T], 1)
        found = np.full(len(twos), None, dtype=object)
        found[np.isnan(self.margins(twos)).all(axis=1)] = "no judge"
        found[(reasons == verdicts.OF_ANOTHER).any(axis=1)] = verdicts.OF_ANOTHER
        found[names[:, 0] == names[:, 1]] = "identical images"
        found[(twos < 0).any(axis=1) | (reasons == "no image").any(axis=1)] = "no image"
        return found

    def contrasts(self) -> Rows:
        """(N, 2): the images of the two wordings of a prompt that have the same index, prompt by prompt."""
        index = self.table["index"].to_numpy()
        places = self.prompt * (int(index.max(initial=0)) + 1) + index
        sides = [self._of_side(side) for side in ("chosen", "rejected")]
        met = np.unique(places[np.concatenate(sides)])
        twos = np.full((len(met), 2), -1, dtype=np.int64)
        for k, rows in enumerate(sides):
            twos[np.searchsorted(met, places[rows]), k] = rows  # of equal ones the last
        return twos

    def in_order(self, prompts: Rows) -> Rows:
        """(N, 2): the two images of each of some prompts, as they were meant."""
        last = np.full((int(max(prompts.max(initial=0), self.prompt.max(initial=0))) + 1, 2), -1, dtype=np.int64)
        for k, side in enumerate(("chosen", "rejected")):
            rows = self._of_side(side)
            last[self.prompt[rows], k] = rows
        return last[prompts]

    def _of_side(self, side: str) -> Rows:
        return np.flatnonzero(pc.equal(self.table["side"], side).to_numpy().astype(bool))


def _matrix(column: pa.ChunkedArray, width: int) -> Numbers:
    """Lists of numbers as rows of a matrix; a list without any is all NaN."""
    cells = column.combine_chunks()
    given = pc.list_value_length(cells).to_numpy(False) > 0
    found = np.full((len(cells), width), np.nan)
    found[given] = cells.flatten().to_numpy(False).reshape(-1, width) if width else 0.0
    return found


def rows_of(twos: Any) -> Rows:
    """(N, 2), of none as well."""
    return np.asarray(twos, dtype=np.int64).reshape(-1, 2)
