"""Images and labels → pairs: two images of one prompt with the probability that their order is right.

Only what the labels say is a pair becomes a row; the others are counted by reason. A row names its images and holds no
picture. A run is labelled anew in one go, so this is done in columns.
"""

from __future__ import annotations

import collections
import functools
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import records
from datagen.labels import aggregate
from datagen.records import Image, Label, Pair, Principle, Prompt, Verdict, Written
from datagen.stages import Context, Shard, Stage

OF_PROMPT = ("prompt", "category", "prompt_id", "split", "role")
OF_IMAGE = ("image_id", "prompt_id", "width", "height", "unread", "negative_unread")
# What a pair says of one image, by its name there and in `Image`; of both images it is that of the chosen one.
OF_BOTH = ("steps", "guidance", "dtype", "batch_size", "software")
OF_CHOSEN = {
    "chosen_prompt": "text", "seed_chosen": "seed", "generator": "generator",
    "generator_revision": "generator_revision", "scheduler": "scheduler", "chosen_negative_prompt": "negative",
    "scheduler_config": "scheduler_config", "adapter": "adapter", "empty_negative": "empty_negative", "vae": "vae",
    "options": "options",
}  # fmt: skip
OF_REJECTED = {
    "rejected_prompt": "text", "seed_rejected": "seed", "rejected_generator": "generator",
    "rejected_generator_revision": "generator_revision", "rejected_scheduler": "scheduler",
    "rejected_negative_prompt": "negative", "rejected_scheduler_config": "scheduler_config",
    "rejected_adapter": "adapter", "rejected_empty_negative": "empty_negative", "rejected_vae": "vae",
    "rejected_options": "options",
}  # fmt: skip
UNKNOWN = {"low": 0.0, "high": 1.0, "judges_only": 0.5}  # where a label does not say


def run(context: Context, shard: Shard) -> Written[Pair]:
    """The pairs of the shard's prompts, in order, and how many were dropped for which reason."""
    labels = shard.table(Label)
    drops = collections.Counter(labels["reason"].drop_null().to_pylist())
    return Written([], dict(drops), tables=[_table(context, shard, labels.filter(pc.is_null(labels["reason"])))])


def _table(context: Context, shard: Shard, labels: pa.Table) -> pa.Table:
    """A row a label."""
    images, schema, labels = shard.table(Image), records.schema(Pair), labels.combine_chunks()
    both = [images.take(_places(images, labels, side)) for side in ("chosen_id", "rejected_id")]
    columns = _columns(context, shard, labels, both)
    return pa.Table.from_arrays([_array(columns[field.name], field.type) for field in schema], schema=schema)


def _columns(context: Context, shard: Shard, labels: pa.Table, images: Sequence[pa.Table]) -> dict[str, Any]:
    """All that it takes to draw the two images of each label again; `images` are those rows of both."""
    prompts, (one, other) = shard.table(Prompt), images
    ids = [labels[name].to_pylist() for name in ("prompt_id", "chosen_id", "rejected_id")]
    probabilities = labels["probability"].to_pylist()
    of_prompt = prompts.take(pc.index_in(labels["prompt_id"], prompts["prompt_id"]))
    principles = {row.principle_id: row for row in shard.rows(Principle)}
    names = zip(of_prompt["principle_id"].to_pylist(), of_prompt["other_principle_ids"].to_pylist(), strict=True)
    named = [[principles[name] for name in (first, *more) if name in principles] for first, more in names]
    alike = pc.and_(pc.equal(one["width"], other["width"]), pc.equal(one["height"], other["height"]))
    return {
        "chosen_id": labels["chosen_id"],
        "rejected_id": labels["rejected_id"],
        "pair_id": [records.pair_id(*of) for of in zip(*ids, strict=True)],
        "principle": ["; ".join(principle.statement for principle in of) for of in named],
        "kind": [of[0].kind for of in named],
        "probability": probabilities,
        "margin": [aggregate.log_odds(probability) for probability in probabilities],
        "scores": _scores(shard.table(Verdict), labels),
        "recipe": [context.recipe.name] * len(labels),
        "license": [context.recipe.license_of(context.profile)] * len(labels),
        "pool": ids[0] if context.recipe.pairing == "pool" else [""] * len(labels),
        "chosen_unread": pc.add(one["unread"], one["negative_unread"]),
        "rejected_unread": pc.add(other["unread"], other["negative_unread"]),
        **{name: of_prompt[name] for name in OF_PROMPT},
        **{name: one[name] for name in OF_BOTH},
        **{name: pc.if_else(alike, one[name], 0) for name in ("width", "height")},
        **{name: one[source] for name, source in OF_CHOSEN.items()},
        **{name: other[source] for name, source in OF_REJECTED.items()},
        **{name: pc.fill_null(labels[name], value) for name, value in UNKNOWN.items()},
    }


def _array(values: Any, kind: pa.DataType) -> Any:
    return pa.array(values, kind) if isinstance(values, list) else values


def _places(rows: pa.Table, labels: pa.Table, side: str) -> pa.Array:
    """Where in a table of images those of the labels stand; equal images of two prompts are two."""
    known = pc.binary_join_element_wise(rows["prompt_id"], rows["image_id"], " ")
    return pc.index_in(pc.binary_join_element_wise(labels["prompt_id"], labels[side], " "), known).combine_chunks()


def _scores(verdicts: pa.Table, labels: pa.Table) -> list[str]:
    """JSON of judge → image → axis → value, of the judges that scored both images."""
    judges, said = verdicts["judges"].to_pylist(), verdicts["scores"].to_pylist()
    places = [_places(verdicts, labels, side).to_pylist() for side in ("chosen_id", "rejected_id")]
    return [_both((judges[one], judges[other]), (said[one], said[other])) for one, other in zip(*places, strict=True)]


_quoted = functools.cache(json.dumps)  # the names of judges


def _both(judges: tuple[Sequence[str], Sequence[str]], said: tuple[Sequence[str], Sequence[str]]) -> str:
    """As `json.dumps` of what the texts hold would write it."""
    of_rejected = dict(zip(judges[1], said[1], strict=True))
    found = [
        f'{_quoted(name)}: {{"chosen": {value}, "rejected": {of_rejected[name]}}}'
        for name, value in zip(judges[0], said[0], strict=True)
        if name in of_rejected
    ]
    return f"{{{', '.join(found)}}}"


STAGE = Stage(
    "pairs",
    Pair,
    run,
    version=7,
    reads={
        Prompt: (*OF_PROMPT, "principle_id", "other_principle_ids"),
        Principle: (),
        Image: tuple(dict.fromkeys((*OF_IMAGE, *OF_BOTH, *OF_CHOSEN.values(), *OF_REJECTED.values()))),
        Verdict: ("prompt_id", "image_id", "judges", "scores"),
        Label: (),
    },
    relabels=True,
)
