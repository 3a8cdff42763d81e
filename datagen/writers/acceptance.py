"""Which rows a run accepts: none that is unsafe, unreadable, too long or a near-duplicate of another.

Near-duplicates are looked for over the whole run. The split goes by cluster, more widely than near-duplicates, so that
nothing similar stands on both sides; a row that was there before keeps its cluster and its side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from datagen import safety
from datagen.records import Prompt, content_id
from datagen.text import near_duplicates, quality, token_budget
from datagen.writers import neutral
from datagen.writers.briefs import Brief

DUPLICATES = 0.8  # Jaccard similarity from which of two prompts one goes
CLUSTER = 0.6  # … from which two prompts stay on one side of the split


Meant = Callable[[Brief, Prompt], str | None]  # why a row does not mean what its brief asks


class AcceptanceFilter:
    """Accepts rows, or says why not. `rows`: those accepted before, which are compared with and not checked again."""

    def __init__(self, fit: token_budget.Fit, rows: Sequence[Prompt], meant: Meant, *, neutral_only: bool) -> None:
        self._fit, self._meant, self._neutral_only = fit, meant, neutral_only
        self._texts = [row.prompt for row in rows if row.error is None]

    def accept(self, rows: Sequence[tuple[Brief, Prompt]]) -> list[str | None]:
        """Why each row is dropped, None for an accepted one. Of near-duplicates in one batch the first is kept."""
        reasons = [self._problem(brief, row) for brief, row in rows]
        sound = [index for index, reason in enumerate(reasons) if reason is None]
        texts = [*self._texts, *(rows[index][1].prompt for index in sound)]
        repeated = near_duplicates.duplicates(texts, DUPLICATES)[len(self._texts) :]
        for index, duplicate in zip(sound, repeated, strict=True):
            if duplicate:
                reasons[index] = "near-duplicate"
        self._texts += [rows[index][1].prompt for index in sound if reasons[index] is None]
        return reasons

    def _problem(self, brief: Brief, row: Prompt) -> str | None:
        """What is wrong with one row by itself."""
        wordings, negatives = row.texts
        statements = [principle.statement for principle in brief.principles]
        if reason := safety.refusal_of_row([*wordings, *statements], negatives):
            return reason
        if reason := quality.check_all([*wordings, *negatives]) or self._meant(brief, row):
            return reason
        if self._neutral_only and row.role in ("neutral", "conflict"):
            for principle in brief.principles:
                if reason := neutral.problem(row.prompt, principle):
                    return reason
        return self._fit.problem("; ".join(statements), row.prompt)


def assign_splits(rows: Sequence[Prompt], before: Sequence[Prompt], test_share: float, seed: int) -> list[Prompt]:
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
