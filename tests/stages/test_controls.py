"""Negative controls from the prompts to the dataset: all judges see them, the audit and the dataset do not."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from datagen import recipe as recipes
from datagen import store
from datagen.commands.audit import runs
from datagen.commands.validate import problems
from datagen.pipeline import build
from datagen.records import NEGATIVE

SETTINGS = (
    "prompts.count=20",
    "labels.controls=0.5",
    "labels.min_probability=0.5",
    "labels.min_match=0",
    "images.shard_size=8",
    "profiles.embedded.steps=1",
    'profiles.embedded.tiers=[["pickscore"], ["clip"]]',
    'profiles.embedded.judges={pickscore = {weights = "embedded"}, clip = {model = "embedded"}}',
    "labels.settled=0.5",
)


@pytest.mark.slow  # a whole run that draws and judges with the embedded models
def test_negative_controls_are_drawn_and_judged_by_all_and_are_in_no_dataset(tmp_path: Path) -> None:
    recipe = recipes.load("pick-safety", list(SETTINGS))
    summary = build.run(recipe, "embedded", tmp_path / "run", workers=1)
    run = store.Run(tmp_path / "run")
    roles = {row["prompt_id"]: row["role"] for row in run.table("prompts", 0).to_pylist()}
    controls = {name for name, role in roles.items() if role == NEGATIVE}
    assert len(roles) == 30 and len(controls) == 10
    assert summary.rows("images") == 60 and summary.plans["pairs"].drops()["negative control"] == 10
    assert any("10 of 30 prompts: negative control" in line for line in summary.losses())
    # Everything is settled after the first tier here but for them.
    heard = [row for k in range(4) for row in run.table("scores", k).to_pylist() if row["axis"] == "keeps"]
    assert {row["prompt_id"] for row in heard if row["judge"] == "clip"} >= controls
    notes = summary.plans["labels"].facts()["notes"]
    assert "10 negative controls were drawn and are in no dataset" in notes
    rows = [row for file in run.dataset.glob("data/*.parquet") for row in pq.read_table(file).to_pylist()]
    assert rows and not {row["prompt_id"] for row in rows} & controls
    card = (run.dataset / "README.md").read_text()
    assert "negative controls: 10 pairs" in card and "10 × negative control" in card
    met, _, _ = runs.read(run.root, lambda what, done, total: None)
    assert len(met.prompts) == 20 and not set(met.prompts) & controls
    assert not list(problems(run.root))


@pytest.mark.slow  # a whole run that draws and judges with the embedded models
@pytest.mark.parametrize("pairing", ["rank", "list"])
def test_candidates_and_their_degraded_copies_are_judged_by_all_and_copies_are_in_no_dataset(
    pairing: str, tmp_path: Path
) -> None:
    changes = [*SETTINGS, f"pairing={pairing}", "images.candidates=3", "labels.copies=1", "prompts.count=12"]
    changes.append("profiles.embedded.steps=4")  # of less, nobody can say which is better
    summary = build.run(recipes.load("open-preferences", changes), "embedded", tmp_path / "run", workers=1)
    run = store.Run(tmp_path / "run")
    assert summary.rows("images") == 36
    scores = [row for k in range(2) for row in run.table("scores", k).to_pylist()]
    for name in ("pickscore", "clip"):
        copied = {row["image_id"] for row in scores if row["judge"] == name and "~" in row["image_id"]}
        assert len(copied) == 36
    assert any(note.startswith("36 planted pairs") for note in summary.plans["labels"].facts()["notes"])
    rows = [row for file in run.dataset.glob("data/*.parquet") for row in pq.read_table(file).to_pylist()]
    assert not any("~" in row[side]["path"] for row in rows for side in ("chosen", "rejected"))
    told = run.table("labels", 0).to_pylist()
    assert told and not any("~" in row["chosen_id"] + row["rejected_id"] for row in told)
    assert not list(problems(run.root))
