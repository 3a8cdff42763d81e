"""`datagen export`: what a run keeps itself stays as it is, and what leaves it is marked."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.support import judged_run
from datagen import export, store
from datagen.commands.audit import audit
from datagen.commands.export import export_run
from datagen.commands.relabel import relabel
from datagen.errors import InputError, RunError
from datagen.export.card import trust
from datagen.export.parts import mark
from datagen.pipeline import plan
from datagen.store import sums

XMP = mark.of("xmp")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    judged_run.write(root, judged_run.recipe(20, changes=("labels.min_probability=0",)))
    relabel(store.Run(root), [])
    return root


def test_the_runs_own_dataset_is_not_marked_and_an_export_of_it_is(run: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in run.glob("dataset/**/*") if path.is_file()}
    assert not export_run(run, "huggingface", run / "dataset", mark=XMP)
    assert before == {path: path.read_bytes() for path in run.glob("dataset/**/*") if path.is_file()}
    assert export_run(run, "huggingface", tmp_path / "out", mark=XMP)
    assert not export_run(run, "huggingface", tmp_path / "out", mark=XMP)
    for path in (tmp_path / "out").glob("data/*.parquet"):
        own = pq.read_table(run / "dataset" / path.relative_to(tmp_path / "out"))
        made = pq.read_table(path)
        assert own.drop_columns(["chosen", "rejected"]) == made.drop_columns(["chosen", "rejected"])
        for side in ("chosen", "rejected"):
            for one, other in zip(own[side].to_pylist(), made[side].to_pylist(), strict=True):
                assert one["path"] == other["path"] and XMP.apply(one["bytes"]) == other["bytes"]


def test_the_reading_of_very_many_shards_and_the_check_of_what_is_there_show_how_far_they_are(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "MANY", 0)
    monkeypatch.setattr(sums, "SHOWN_EVERY", 10)
    told: dict[str, list[tuple[int, int]]] = {}

    def note(what: str, done: int, total: int) -> None:
        told.setdefault(what, []).append((done, total))

    assert export_run(run, "kohya", tmp_path / "out", progress=note)
    assert told["stages"] == [(count, 8) for count in range(1, 9)] and "check" not in told
    assert not export_run(run, "kohya", tmp_path / "out", progress=note)
    files = sum(path.is_file() for path in (tmp_path / "out").rglob("*"))
    assert told["check"][-1] == (files, files) and len(told["check"]) == files // 10 + 1


def test_the_card_tells_what_a_reader_of_the_data_needs(run: Path) -> None:
    card = (run / "dataset" / "README.md").read_text()
    for said in (
        "annotations_creators:\n- machine-generated",
        "source_datasets:\n- original",
        "- licences of the judges' weights: clip ",
        "- licence of the images: ",
        "- marked: Pictures carry no mark",
        "nothing was paid for them",
        "## How sure the labels are",
        "## Limits",
        "This data may hold harmful content",
    ):
        assert said in card, said


def test_the_card_tells_how_far_judges_agree_as_the_audit_does_and_what_else_could_tell_the_winner(run: Path) -> None:
    found, _ = audit(run)
    _, _, text = (run / "dataset" / "README.md").read_text().partition("## Agreement and shortcuts")
    agreement, shortcut = text.split("\n## ")[0].strip().splitlines()
    for name, key in (("Fleiss's kappa", "fleiss"), ("Krippendorff's alpha", "alpha_nominal")):
        told = found["agreement"][key]
        assert f"{name} {told['value']:.2f} [{told['low']:.2f}, {told['high']:.2f}]" in agreement
    assert "5 judges on 20 pairs of images" in agreement and "they agree" in agreement
    assert "the winners of " in shortcut and ("AUC" in shortcut or "too few prompts" in shortcut)


@pytest.mark.parametrize(("count", "most", "wanted"), [(0, 3, []), (2, 3, [0, 1]), (10, 3, [0, 3, 6])])
def test_of_many_shards_some_are_looked_at_evenly_apart(count: int, most: int, wanted: list[int]) -> None:
    assert trust.spread(count, most) == wanted


def test_a_run_of_pairs_alone_gives_ranked_lists_of_two(run: Path, tmp_path: Path) -> None:
    from training import data

    export_run(run, "lists", tmp_path / "lists")
    labels = store.Run(run).table("labels", 0).to_pylist()
    rows = pq.read_table(tmp_path / "lists" / "lists.parquet").to_pylist()
    assert len(rows) == 2 * sum(label["probability"] is not None for label in labels) > 0
    first = {row["prompt_id"]: row["image_id"] for row in reversed(rows) if row["rank"] == 1}
    for label in labels:
        better = "chosen_id" if label["probability"] > 0.5 else "rejected_id"
        assert first[label["prompt_id"]] == label[better]
    export_run(run, "rewards", tmp_path / "rewards")
    lists = data.as_lists(data.load(str(tmp_path / "rewards" / "data")))
    assert lists.rows and {len(some) for some in lists.rows} == {2}


@pytest.mark.parametrize("name", [name for name in export.FORMATS.names() if name != export.DATASET])
def test_no_other_format_takes_the_place_of_the_runs_own_dataset(name: str, run: Path) -> None:
    with pytest.raises(RunError, match="holds something that is not a"):
        export_run(run, name, run / "dataset", mark=XMP)


def test_what_is_not_a_finished_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    judged_run.write(tmp_path / "run", judged_run.recipe(4))
    with pytest.raises(RunError, match="is not finished"):
        export_run(tmp_path / "run", "kohya", tmp_path / "out")
    with pytest.raises(InputError, match="no export format"):
        export_run(tmp_path / "run", "kohja", tmp_path / "out")
    assert not (tmp_path / "out").exists()
