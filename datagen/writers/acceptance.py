"""Which rows a run accepts: none that is unsafe, unreadable, too long or a near-duplicate of another.

Near-duplicates are looked for over the whole run. The split goes by cluster, more widely than near-duplicates, so that
nothing similar stands on both sides; a row that was there before keeps its cluster and its side.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np

from datagen import safety
from datagen.records import Prompt, content_id
from datagen.text import near_duplicates, quality, token_budget
from datagen.text.aside import Rows
from datagen.writers import neutral
from datagen.writers.briefs import Brief

DUPLICATES = 0.8  # Jaccard similarity from which of two prompts one goes
CLUSTER = 0.6  # … from which two prompts stay on one side of the split


Meant = Callable[[Brief, Prompt], str | None]  # why a row does not mean what its brief asks


class AcceptanceFilter:
    """Accepts rows, or says why not. `rows`: those accepted before, which are compared with and not checked again."""

    def __init__(self, fit: token_budget.Fit, rows: Iterable[Prompt], meant: Meant, *, neutral_only: bool) -> None:
        self._fit, self._meant, self._neutral_only = fit, meant, neutral_only
        self._texts = Rows(row.prompt for row in rows if row.error is None)

    def accept(self, rows: Collection[tuple[Brief, Prompt]]) -> Iterator[str | None]:
        """Why each row is dropped, None for an accepted one. Of near-duplicates in one batch the first is kept.

        What has failed is none of these: it waits for the next run.
        """
        reasons = Rows(None if row.error else self._problem(brief, row) for brief, row in rows)
        sound = Rows(
            row.prompt for (_, row), reason in zip(rows, reasons, strict=True) if reason is None and not row.error
        )
        repeated = iter(
            near_duplicates.duplicates(itertools.chain(self._texts, sound), DUPLICATES)[len(self._texts) :]
        )
        for (_, row), reason in zip(rows, reasons, strict=True):
            if reason is None and not row.error and next(repeated):
                yield "near-duplicate"
                continue
            if reason is None and not row.error:
                self._texts.add(row.prompt)
            yield reason

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


def assign_splits(
    rows: Collection[Prompt], before: Iterable[Prompt], test_share: float, seed: int
) -> Iterator[Prompt]:
    """The rows with cluster and split; those with an error stand alone. `before`: rows that keep theirs."""
    fixed = {row.prompt_id: (row.cluster, row.split) for row in before if row.error is None}
    # What was there before names its cluster, so it comes first.
    old = Rows((row.prompt_id, row.prompt) for row in rows if row.error is None and row.prompt_id in fixed)
    new = Rows((row.prompt_id, row.prompt) for row in rows if row.error is None and row.prompt_id not in fixed)
    firsts = near_duplicates.clusters((text for _, text in itertools.chain(old, new)), CLUSTER)
    names = np.zeros(len(firsts), dtype=np.uint64)
    for place, (prompt_id, text) in enumerate(itertools.chain(old, new)):
        if firsts[place] == place:
            names[place] = int(fixed[prompt_id][0] if prompt_id in fixed else content_id(text), 16)
    names = names[firsts]
    sides = near_duplicates.split((f"{name:016x}" for name in names.tolist()), test_share, seed)
    kept = dict(fixed.values())
    places = itertools.count(len(old))
    for row in rows:
        if row.error is not None:
            yield dataclasses.replace(row, cluster=row.prompt_id)
        elif row.prompt_id in fixed:
            yield row
        else:
            place = next(places)
            name = f"{names[place]:016x}"
            yield dataclasses.replace(row, cluster=name, split=kept.get(name, sides[place]))
