"""The rows that a run has taken, and what a new one must not be: unsafe, unreadable, too long, or a twin of another.

Near-twins are looked for over the whole run. The split goes by cluster, more widely than twins, so that nothing alike
stands on both sides; a row that was there before keeps its cluster and its side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from datagen import safety
from datagen.records import Prompt, content_id
from datagen.text import near_duplicates, quality, token_budget
from datagen.writers import neutral
from datagen.writers.assignments import Slot

TWINS = 0.8  # Jaccard similarity from which of two prompts one goes
CLUSTER = 0.6  # … from which two prompts stay on one side of the split


class Shelf:
    """Takes rows, or says why not. `rows`: what is taken already, which is looked at for twins only."""

    def __init__(self, fit: token_budget.Fit, rows: Sequence[Prompt], *, neutral_only: bool) -> None:
        self._fit, self._neutral_only = fit, neutral_only
        self._texts = [row.prompt for row in rows if row.error is None]

    def take(self, rows: Sequence[tuple[Slot, Prompt]]) -> list[str | None]:
        """Why each row is dropped, None for one that is taken. In a batch, too, the first of two twins goes before."""
        reasons = [self._problem(slot, row) for slot, row in rows]
        sound = [index for index, reason in enumerate(reasons) if reason is None]
        texts = [*self._texts, *(rows[index][1].prompt for index in sound)]
        for index, double in zip(sound, near_duplicates.duplicates(texts, TWINS)[len(self._texts) :], strict=True):
            if double:
                reasons[index] = "near-twin"
        self._texts += [rows[index][1].prompt for index in sound if reasons[index] is None]
        return reasons

    def _problem(self, slot: Slot, row: Prompt) -> str | None:
        """What is wrong with one row by itself."""
        wordings = (row.prompt, row.chosen_prompt, row.rejected_prompt)
        statements = [principle.statement for principle in slot.principles]
        if reason := safety.refusal_of_row([*wordings, *statements], [row.chosen_negative, row.rejected_negative]):
            return reason
        for text in wordings:
            if reason := quality.check(text):
                return reason
        if self._neutral_only and row.role in ("neutral", "conflict"):
            for principle in slot.principles:
                if reason := neutral.problem(row.prompt, principle):
                    return reason
        return self._fit.problem("; ".join(statements), row.prompt)


def bind(rows: Sequence[Prompt], before: Sequence[Prompt], test_share: float, seed: int) -> list[Prompt]:
    """The rows with cluster and split; those with an error stand alone. `before`: rows that keep theirs."""
    fixed = {row.prompt_id: row for row in before if row.error is None}
    good = [row for row in rows if row.error is None]
    good.sort(key=lambda row: row.prompt_id not in fixed)  # what was there before names its cluster
    firsts = [good[label] for label in near_duplicates.clusters([row.prompt for row in good], CLUSTER)]
    names = [
        fixed[first.prompt_id].cluster if first.prompt_id in fixed else content_id(first.prompt) for first in firsts
    ]
    kept = {row.cluster: row.split for row in fixed.values()}
    bound = {
        row.prompt_id: fixed.get(row.prompt_id) or dataclasses.replace(row, cluster=name, split=kept.get(name, side))
        for row, name, side in zip(good, names, near_duplicates.split(names, test_share, seed), strict=True)
    }
    return [bound.get(row.prompt_id) or dataclasses.replace(row, cluster=row.prompt_id) for row in rows]
