"""Verdicts → labels: which two images of a prompt meet, and the probability that their order is right.

It is learnt from all verdicts of the run together, so the run is one shard here; no picture is read.
"""

from __future__ import annotations

from datagen.records import Label, Prompt, Verdict, Written
from datagen.stages import Context, Shard, Stage

UNREAD = ("judges", "scores")  # of verdicts: what pairs show of them


def run(context: Context, shard: Shard) -> Written[Label]:
    """A row for each two images that could be a pair, prompt by prompt, and what was learnt of the judges."""
    from datagen.labels import labelling, lists  # with SciPy, which `datagen status` need not wait for

    names = [judge.name for judge in context.profile.judges]
    if context.recipe.pairing == "list":
        rows, facts = lists.label(context.recipe, names, shard.rows(Prompt), shard.rows(Verdict))
        return Written(rows, facts=facts)
    table, facts = labelling.label(context.recipe, names, shard.table(Prompt), shard.table(Verdict))
    return Written([], facts=facts, tables=[table])


STAGE = Stage(
    "labels", Label, run, version=2, whole=True, reads=(Prompt, Verdict), relabels=True, unread={Verdict: UNREAD}
)
