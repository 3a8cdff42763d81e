"""One prompt, one principle and one recipe to start from, changed where a test needs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datagen import records
from datagen.labels import instrument
from datagen.recipe import Images, JudgeChoice, Labels, Profile, Recipe
from datagen.records import Label, Pair, Principle, Prompt, Verdict, Written
from datagen.stages import Context, Shard, Stage, labels, pairs, verdicts

PROFILE = Profile(
    model="embedded",
    taxonomy="world-styles",
    grammar="world",
    scheduler="ddim",
    steps=2,
    guidance=4.0,
    width=64,
    height=64,
    judges=(JudgeChoice(name="world"), JudgeChoice(name="clip")),
)
PRINCIPLE = Principle(
    "pixel",
    "prefer",
    "style",
    "pixel art preferred",
    "{prompt}, pixel art",
    "{prompt}",
    "",
    "pixel",
    "taxonomy:t",
    "s",
)
PROMPT = Prompt(
    "p0", "pixel", "style", "a chef", "a chef, pixel art", "a chef, plain style", "blur", "pixels", "c", "train", "t"
)


@pytest.fixture
def principle() -> Principle:
    return PRINCIPLE


@pytest.fixture
def make_prompt() -> Callable[..., Prompt]:
    return lambda **changes: dataclasses.replace(PROMPT, **changes)


@pytest.fixture
def make_context() -> Callable[..., Context]:
    def make(
        pairing: Any = "contrast",
        candidates: int = 1,
        same_seed: bool = True,
        seed: int = 0,
        violating: int = 0,
        **labels: float,
    ) -> Context:
        images = Images(candidates=candidates)
        if pairing == "pool":
            images = Images(aligned=candidates, violating=violating or candidates)
        recipe = Recipe(
            name="r",
            license="openrail++",
            seed=seed,
            pairing=pairing,
            same_seed=same_seed,
            images=images,
            labels=Labels(**labels),
            profiles={"embedded": PROFILE},
        )
        return Context(recipe, PROFILE)

    return make


def by_sum(margins: Any, design: Any, role: Any, known: Any, prompts: Any, **_: Any) -> instrument.Labels:
    """What the judges say added up, in the place of what is learnt from a run: closed forms for what is around it."""
    total = np.nansum(margins, axis=1)
    probability = 1 / (1 + np.exp(-total))
    judge = instrument.Judge(
        coverage=1.0, reliability=1.0, signal=1.0, noise=1.0, first=0.0, leak=None, weight=1.0, shared=(1.0,)
    )
    judges = (judge,) * margins.shape[1]
    return instrument.Labels(probability, probability, probability, probability, judges, {}, ())


def given(stage: Stage[Any], tables: dict[type, Any]) -> Shard:
    """What the pipeline gives a stage of these rows: the columns that it reads."""
    of = {kind: rows if isinstance(rows, pa.Table) else records.to_table(kind, rows) for kind, rows in tables.items()}
    return Shard({kind: table.select(stage.reads.get(kind) or table.column_names) for kind, table in of.items()})


@pytest.fixture
def label(monkeypatch: pytest.MonkeyPatch) -> Callable[[Context, Shard], Written[Pair]]:
    """Images and scores of a shard that is the whole run → its pairs, labelled by the sum of the judges."""
    monkeypatch.setattr(instrument, "label", by_sum)

    def run(context: Context, shard: Shard) -> Written[Pair]:
        tables = dict(shard.tables)
        tables[Verdict] = verdicts.run(context, shard).rows
        labelled = labels.run(context, given(labels.STAGE, tables))
        tables[Label] = labelled.rows if labelled.tables is None else pa.concat_tables(labelled.tables)
        made = pairs.run(context, given(pairs.STAGE, tables))
        return dataclasses.replace(made, rows=records.from_table(Pair, pa.concat_tables(made.tables)))

    return run
