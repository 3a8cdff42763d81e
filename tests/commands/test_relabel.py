"""`datagen relabel`: a judged run gets other rules; nothing is drawn, nobody is asked, and the run keeps the rules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.support import judged_run
from datagen import recipe as recipes
from datagen import store
from datagen.commands.relabel import relabel
from datagen.errors import RecipeError, RunError
from datagen.labels import sample
from datagen.pipeline import build
from datagen.recipe import Recipe

PROMPTS = 40


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return judged_run.recipe(PROMPTS, shard_size=16, changes=("labels.min_probability=0.6",))


@pytest.fixture
def run(tmp_path: Path, recipe: Recipe) -> store.Run:
    judged_run.write(tmp_path / "run", recipe)
    return store.Run(tmp_path / "run")


def upstream(run: store.Run) -> dict[str, int]:
    """The files that no labelling may touch, with the moments they were written."""
    files = run.root.glob("tables/*/*.parquet")
    return {p.name: p.stat().st_mtime_ns for p in files if p.parent.name in ("prompts", "images", "scores")}


def column(run: store.Run, name: str) -> list[Any]:
    files = sorted(run.dataset.glob("data/*.parquet"))
    return [value for file in files for value in pq.read_table(file)[name].to_pylist()]


def probabilities(run: store.Run) -> list[float]:
    return column(run, "probability")


def test_a_judged_run_is_labelled_by_other_rules_and_keeps_them(run: store.Run, recipe: Recipe) -> None:
    before = upstream(run)
    first = relabel(run, [])
    assert 0 < first.rows("pairs") <= PROMPTS and min(probabilities(run)) >= 0.6
    second = relabel(run, ["labels.min_probability=0.97"])
    assert 0 < second.rows("pairs") < first.rows("pairs") and min(probabilities(run)) >= 0.97
    assert second.plans["pairs"].drops() == {"low probability": PROMPTS - second.rows("pairs")}
    assert upstream(run) == before
    again: list[str] = []
    assert build.run(recipe, "embedded", run.root, say=again.append).made == 0
    assert again == ["labels: by the rules that datagen relabel gave this run"]
    assert recipes.of_run(run.started())[0].labels.min_probability == 0.97
    assert relabel(run, ["labels.most_each_principle=3"]).rows("pairs") == 3  # the other rule stays
    assert min(probabilities(run)) >= 0.97


def test_labelling_back_gives_the_same_bytes(run: store.Run) -> None:
    relabel(run, [])
    before = {path.name: path.read_bytes() for path in run.dataset.glob("data/*.parquet")}
    relabel(run, ["labels.min_probability=0.97"])
    relabel(run, ["labels.min_probability=0.6"])
    assert {path.name: path.read_bytes() for path in run.dataset.glob("data/*.parquet")} == before


def test_what_was_learnt_stands_in_the_footer_of_the_labels(run: store.Run) -> None:
    relabel(run, [])
    footer = run.footer("labels", 0)
    assert footer is not None and footer.rows == PROMPTS
    assert sorted(judge["name"] for judge in footer.facts["judges"]) == sorted(judged_run.JUDGES)
    assert footer.facts["pairs"] == PROMPTS
    json.dumps(footer.facts, allow_nan=False)


def test_labels_of_people_are_a_rule_and_when_their_file_changes_the_labels_do(run: store.Run, tmp_path: Path) -> None:
    relabel(run, ["labels.min_probability=0"])
    rows = [
        row
        for file in sorted(run.dataset.glob("data/*.parquet"))
        for row in pq.read_table(file)["pair_id"].to_pylist()
    ]
    known = tmp_path / "known.csv"
    known.write_text("\n".join(["pair_id,label", *(f"{row},chosen" for row in rows)]))
    relabel(run, [f"labels.known={known}"])
    first = probabilities(run)
    known.write_text("\n".join(["pair_id,label", *(f"{row},rejected" for row in rows)]))
    assert relabel(run, []).made > 0
    assert probabilities(run) != first
    assert relabel(run, []).made == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prompts.count=3", "can be given labels.min_probability"),
        ("labels.settled=0.9", "start another run"),
        ("labels.min_probability=2", "labels.min_probability is 2"),
        ("labels.rule=al", "labels.rule is 'al'"),
        ("labels.ruler=all", "unknown key 'labels.ruler'"),
        ("labels", "give key=value"),
    ],
)
def test_what_cannot_be_changed_after_a_run_is_refused_and_nothing_changes(
    run: store.Run, override: str, message: str
) -> None:
    before = (run.root / "recipe.json").read_bytes()
    with pytest.raises(RecipeError, match=message):
        relabel(run, [override])
    assert (run.root / "recipe.json").read_bytes() == before
    assert not run.shard("labels", 0).exists()


def test_a_run_that_is_not_judged_yet_is_refused_and_keeps_its_rules(run: store.Run) -> None:
    run.shard("scores", 1).unlink()
    before = (run.root / "recipe.json").read_bytes()
    with pytest.raises(RunError, match="not judged yet .scores missing"):
        relabel(run, ["labels.min_probability=0.97"])
    assert (run.root / "recipe.json").read_bytes() == before
    with pytest.raises(RunError, match="not a run directory"):
        relabel(store.Run(run.root / "nothing"), [])


def test_damaged_labels_are_made_again_and_damaged_scores_are_named(run: store.Run) -> None:
    rows = relabel(run, []).rows("pairs")
    for stage in ("verdicts", "labels", "pairs"):
        path = run.shard(stage, 0)
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(bytes(data))
    run.shard("labels", 0).unlink()
    assert relabel(run, []).rows("pairs") == rows
    scores = run.shard("scores", 0)
    data = bytearray(scores.read_bytes())
    data[20] ^= 1
    scores.write_bytes(bytes(data))
    run.shard("verdicts", 0).unlink()
    with pytest.raises(store.Damaged, match="scores-00000"):
        relabel(run, [])
    assert scores.exists()


def test_the_command_says_what_it_did(run: store.Run) -> None:
    command = [sys.executable, "-m", "datagen", "relabel", str(run.root), "--set", "labels.min_probability=0.97"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{PROMPTS} prompts, {2 * PROMPTS} images," in done.stdout and "low probability" in done.stdout
    wrong = subprocess.run([*command[:-1], "images.candidates=3"], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: --set 'images.candidates=3'")


def test_the_command_says_what_was_learnt_and_what_people_said_that_does_not_count(
    run: store.Run, tmp_path: Path
) -> None:
    relabel(run, [])
    (own,) = (row["pair_id"] for row in run.table("pairs", 0, ["pair_id"]).to_pylist()[:1])
    known = tmp_path / "known.csv"
    known.write_text(f"pair_id,label\nelse,chosen\n{own},chosen\n{own},rejected\n")
    command = [sys.executable, "-m", "datagen", "relabel", str(run.root), "--set"]
    said = subprocess.run([*command, f"labels.known={known}"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "labels: learnt from" in said.stdout and "1 of 1 labels of people are of no pair of this run" in said.stdout
    assert "labels of people of 1 pairs contradict each other: not used" in said.stdout
    none = subprocess.run([*command, "labels.min_probability=1"], capture_output=True, text=True)
    assert none.returncode == 1 and "no pair passed" in none.stderr


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have 80 images be many: three parts, of shards of 16 prompts."""
    monkeypatch.setattr(sample, "TOGETHER", 60)
    monkeypatch.setattr(sample, "LEARNT", 30)


@pytest.mark.usefixtures("in_parts")
def test_a_large_run_is_labelled_part_by_part_in_the_order_of_its_prompts(run: store.Run) -> None:
    relabel(run, ["labels.min_probability=0"])
    footer = run.footer("labels", 0)
    assert footer is not None and footer.rows == PROMPTS and footer.facts["pairs"] == PROMPTS
    assert any(note.startswith("of 80 images") for note in footer.facts["notes"])
    names = run.table("labels", 0)["prompt_id"].to_pylist()
    assert names == run.table("prompts", 0)["prompt_id"].to_pylist()
    before = run.table("labels", 0)["probability"]
    relabel(run, ["labels.min_probability=0.97"])
    assert run.table("labels", 0)["probability"].equals(before)


@pytest.mark.usefixtures("in_parts")
def test_a_damaged_shard_that_is_met_part_way_is_made_again_and_the_labels_are_the_same(run: store.Run) -> None:
    relabel(run, [])
    before = run.table("labels", 0)
    shard = run.shard("verdicts", 2)
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    said: list[str] = []
    relabel(run, ["labels.min_probability=0.61"], say=said.append)
    assert any("verdicts-00002" in line and "damaged" in line for line in said)
    after = run.table("labels", 0)
    for name in ("chosen_id", "probability"):
        assert after[name].equals(before[name])
    assert not list(run.shard("labels", 0).parent.glob("*.tmp*"))
