"""Verdicts → labels: which two images of a prompt meet, and the probability that their order is right.

It is learnt from the verdicts of the run together, so the run is one shard here, and a large one is gone through in
parts; no picture is read.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pyarrow as pa

from datagen.records import Label, Prompt, Verdict, Written
from datagen.stages import Context, Parts, Shard, Stage

# Of a million rows the others are gigabytes.
OF_PROMPT = ("prompt_id", "principle_id", "prompt", "role")
OF_VERDICT = (
    "image_id", "prompt_id", "side", "index", "reason", "lean", "principle", "wording", "match", "share", "controls",
)  # fmt: skip


def run(context: Context, shard: Shard) -> Written[Label]:
    """A row for each two images that could be a pair, prompt by prompt, and what was learnt of the judges."""
    from datagen.labels import labelling, lists, sample  # with SciPy, which `datagen status` need not wait for

    names = [judge.name for judge in context.profile.judges]
    if context.recipe.pairing == "list":
        rows, facts = lists.label(context.recipe, names, shard.table(Prompt), shard.rows(Verdict))
        return Written(rows, facts=facts)
    images = shard.parts.count(Verdict) if shard.parts is not None else 0
    cut = sample.count(images)
    if shard.parts is None or cut == 1:
        table, facts = labelling.label(context.recipe, names, shard.table(Prompt), shard.table(Verdict))
        return Written([], facts=facts, tables=[table])
    read = functools.partial(_parts, shard.parts, cut)
    tables, facts = labelling.in_parts(context.recipe, names, read, images)
    return Written([], facts=facts, tables=tables)


def _parts(of: Parts, cut: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Prompts and verdicts of so many parts of a run."""
    return ((part.table(Prompt), part.table(Verdict)) for part in of.cut(cut))


STAGE = Stage(
    "labels",
    Label,
    run,
    version=3,
    whole=True,
    reads={Prompt: OF_PROMPT, Verdict: OF_VERDICT},
    relabels=True,
)
