"""Which two images of each prompt of a run meet: contrasts in columns, what ranks or deals images prompt by prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from datagen import records
from datagen.labels import pairing, verdicts
from datagen.labels.heard import Heard, Rows, Texts, rows_of
from datagen.recipe import Recipe
from datagen.records import Verdict


@dataclasses.dataclass(frozen=True)
class Found:
    """M matches: the place of each prompt, two rows of images, and why there are none, None where there are."""

    prompt: Rows
    twos: Rows
    reason: Texts


@dataclasses.dataclass(frozen=True)
class Contrasts:
    """The two wordings of each prompt, of which the design says which is better."""

    heard: Heard
    drawn: Rows
    degraded: Rows = dataclasses.field(default_factory=lambda: rows_of([]))
    neighbours: Rows = dataclasses.field(default_factory=lambda: rows_of([]))

    def found(self, value: pairing.Value) -> Found:
        """All two images of a prompt that could be a pair, without the prompts `drawn` as negative controls."""
        twos = self.heard.contrasts()
        prompt = self.heard.prompt[twos.max(axis=1)] if len(twos) else np.empty(0, dtype=np.int64)
        kept = ~np.isin(prompt, self.drawn)
        return Found(prompt[kept], twos[kept], np.full(int(kept.sum()), None, dtype=object))


class ByPrompt:
    """The images of each prompt as records, for pairings that look at all of a prompt's together."""

    def __init__(self, recipe: Recipe, heard: Heard, prompts: pa.Table, drawn: Rows) -> None:
        images: list[Verdict] = records.from_table(Verdict, heard.table)
        self._recipe, self._rows = recipe, {id(image): row for row, image in enumerate(images)}
        names = prompts["prompt_id"].to_pylist()
        left = set(drawn.tolist())
        self._own: dict[int, list[Verdict]] = {place: [] for place in range(len(names)) if place not in left}
        copies: dict[int, list[Verdict]] = {place: [] for place in self._own}
        for place, image in zip(heard.prompt.tolist(), images, strict=True):
            if place in self._own:
                (copies if image.side == verdicts.COPY else self._own)[place].append(image)
        self.degraded = self._twos(two for of, own in self._own.items() for two in pairing.degraded(own, copies[of]))
        ranked = self._own.values() if recipe.ranked else ()
        self.neighbours = self._twos(two for own in ranked for two in pairing.neighbours(own))

    def found(self, value: pairing.Value) -> Found:
        """All two images of a prompt that could be a pair; `value` ranks candidates."""
        met = [(of, match) for of, own in self._own.items() for match in pairing.matches(self._recipe, own, value)]
        reasons = np.array([match if isinstance(match, str) else None for _, match in met], dtype=object)
        twos = self._twos((None, None) if isinstance(match, str) else match for _, match in met)
        return Found(np.array([of for of, _ in met], dtype=np.int64), twos, reasons)

    def _twos(self, twos: Iterable[tuple[Verdict | None, Verdict | None]]) -> Rows:
        return rows_of([[-1 if image is None else self._rows[id(image)] for image in two] for two in twos])


def ways(recipe: Recipe, heard: Heard, prompts: pa.Table, drawn: Rows) -> Contrasts | ByPrompt:
    """How images of a run meet, but for those of the prompts `drawn` as negative controls."""
    return Contrasts(heard, drawn) if recipe.pairing == "contrast" else ByPrompt(recipe, heard, prompts, drawn)
