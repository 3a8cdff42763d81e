"""The exported dataset: what `datasets` makes of it, equal bytes, when it is rebuilt, and its card."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import pictured_pairs
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen import export as exports
from datagen import records, store
from datagen.export import huggingface
from datagen.export.card import columns
from datagen.recipe import Recipe, load
from datagen.records import Pair, Score
from datagen.store import files as store_files


def picture(shade: int) -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade % 256, 0, 0)).save(file, "png")
    return pictured_pairs.keep(file.getvalue())


def pair(number: int, **changes: Any) -> Pair:
    made = Pair(
        f"pair {number}", f"prompt {number}", "pixel art | preferred <b>", "style", "avoid", picture(2 * number),
        picture(2 * number + 1), "new", "old", 0.97, 1.0, "{}", 1, 2, "some/model", "abc", 20, 4.0, "ddim",
        "pick-style", "openrail++", f"id {number}", "test" if number % 5 == 0 else "train",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def commit(run: store.Run, stage: str, index: int, record: type, rows: list[Any]) -> store.Footer:
    footer: dict[str, Any] = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}
    return run.commit(stage, index, records.to_table(record, rows), **footer)


@pytest.fixture
def recipe() -> Recipe:
    return load("pick-style", [])


def fill(root: Path, rows: list[Pair]) -> store.Run:
    """A run with these pairs in two shards, judged by one judge."""
    run = store.Run(root)
    half = len(rows) // 2
    for index, part in enumerate((rows[:half], rows[half:])):
        commit(run, "scores", index, Score, [Score("i", row.prompt_id, "clip", "3", "match", 0.5) for row in part])
        pictured_pairs.commit(run, index, part)
    return run


LEARNT = {
    "pairs": 11,
    "judges": [{"name": "clip", "reliability": 0.9, "leak": None}],
    "obedience": {"smoke neutral": {"value": 0.9, "low": 0.8, "high": 0.95}},
    "notes": ["weights are shrunk | <b>"],
}


def export(run: store.Run, recipe: Recipe, content: str = "c") -> bool:
    drops = {"probability too low": 4}
    finished = exports.Finished(run, recipe, recipe.profile("sd15"), 2, content, drops, {"wording cut": 7}, LEARNT)
    return exports.write(finished, "huggingface", run.dataset)


def test_columns_are_those_of_a_pair_without_split_and_all_are_explained() -> None:
    fields = [field.name for field in dataclasses.fields(Pair) if field.name != "split"]
    expected = [{"chosen_id": "chosen", "rejected_id": "rejected"}.get(name, name) for name in fields]
    assert columns.schema().names == expected == list(columns.COLUMNS)


def test_datasets_shows_pictures_both_ways(tmp_path: Path, recipe: Recipe) -> None:
    import datasets

    rows = [pair(number) for number in range(11)]
    run = fill(tmp_path / "run", rows)
    assert export(run, recipe)
    cache = str(tmp_path / "cache")
    for loaded in (
        datasets.load_dataset("parquet", data_dir=str(run.dataset), cache_dir=cache),
        datasets.load_dataset(str(run.dataset), cache_dir=cache),
    ):
        assert {split: len(part) for split, part in loaded.items()} == {"train": 8, "test": 3}
        first = loaded["train"][0]
        assert first["chosen"].size == first["rejected"].size == (8, 8)
        assert first["chosen"].getpixel((0, 0)) == (2, 0, 0)
        assert isinstance(loaded["train"].features["chosen"], datasets.Image)
        assert "split" not in loaded["train"].column_names


def test_equal_pairs_give_equal_bytes_however_they_are_sharded(tmp_path: Path, recipe: Recipe) -> None:
    rows = [pair(number) for number in range(11)]
    one, two = fill(tmp_path / "one", rows), fill(tmp_path / "two", rows[:9])
    pictured_pairs.commit(two, 0, rows[:2])
    pictured_pairs.commit(two, 1, rows[2:])
    for run in (one, two):
        export(run, recipe)
    files = sorted(path.relative_to(one.dataset) for path in one.dataset.rglob("*") if path.is_file())
    assert [str(path) for path in files] == [
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]
    assert all((one.dataset / path).read_bytes() == (two.dataset / path).read_bytes() for path in files)


@pytest.mark.parametrize("shards", [1, 7])
def test_a_split_is_cut_into_files_of_whole_row_groups_by_what_they_weigh(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    monkeypatch.setattr(huggingface, "FILE_BYTES", 150_000)
    monkeypatch.setattr(store_files, "GROUP_BYTES", 40_000)
    rows = [
        pair(number, split="train", chosen_id=pictured_pairs.keep(os.urandom(3000 + 20 * number)))
        for number in [*range(1, 30), *range(1, 30)]
    ]
    run = store.Run(tmp_path)
    for index in range(shards):
        part = rows[index * len(rows) // shards : (index + 1) * len(rows) // shards]
        pictured_pairs.commit(run, index, part)
        commit(run, "scores", index, Score, [])
    finished = exports.Finished(run, recipe, recipe.profile("sd15"), shards, "c", {}, {}, {})
    exports.write(finished, "huggingface", run.dataset)
    files = sorted(run.dataset.glob("data/*"))
    assert [path.name for path in files] == [f"train-0000{n}-of-00002.parquet" for n in range(2)]
    assert 110_000 < files[0].stat().st_size < 160_000
    for metadata in map(pq.read_metadata, files):
        groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
        assert all(group.total_byte_size < 60_000 for group in groups)
    found = [name for path in files for name in pq.read_table(path)["pair_id"].to_pylist()]
    assert found == [row.pair_id for row in rows]


def test_row_groups_are_bound_by_the_bytes_of_their_images(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_files, "GROUP_BYTES", 100_000)
    keep = pictured_pairs.keep
    large = [pair(n, chosen_id=keep(b"c" * 20_000), rejected_id=keep(b"r" * 20_000)) for n in range(1, 5)]
    run = fill(tmp_path, [*large, pair(6, chosen_id=keep(b"c" * 300_000)), *(pair(n) for n in (7, 8, 9))])
    export(run, recipe)
    metadata = pq.read_metadata(run.dataset / "data/train-00000-of-00001.parquet")
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [2, 2, 1, 3]


def test_it_is_rebuilt_when_the_pairs_change_and_only_then(tmp_path: Path, recipe: Recipe) -> None:
    run = fill(tmp_path, [pair(number) for number in range(4)])
    assert [export(run, recipe), export(run, recipe)] == [True, False]
    assert export(run, recipe, "other")
    assert huggingface.splits(run.dataset) == {"train": 3, "test": 1}
    (run.dataset / "data/train-00000-of-00001.parquet").write_bytes(b"")
    assert export(run, recipe, "other")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_run_without_pairs_still_has_files_that_read(tmp_path: Path, recipe: Recipe) -> None:
    run = fill(tmp_path, [])
    export(run, recipe)
    assert pq.read_table(run.dataset / "data/train-00000-of-00001.parquet").num_rows == 0
    assert "0 pairs to train on" in (run.dataset / "README.md").read_text()


def test_the_card_says_how_it_was_made_and_trusts_no_text(tmp_path: Path, recipe: Recipe) -> None:
    import yaml  # type: ignore[import-untyped]

    run = fill(tmp_path, [pair(number) for number in range(11)])
    export(run, recipe)
    _, head, text = (run.dataset / "README.md").read_text().split("---\n", 2)
    values = yaml.safe_load(head)
    assert values["license"] == "creativeml-openrail-m"  # the sd15 profile's own
    assert values["size_categories"] == ["n<1K"]
    assert "not-for-all-audiences" in values["tags"]
    assert {entry["name"]: entry["dtype"] for entry in values["dataset_info"]["features"]}["chosen"] == "image"
    assert [entry["num_examples"] for entry in values["dataset_info"]["splits"]] == [8, 3]
    for said in ("some/model at abc", "clip 3", "4 × probability too low", "8 pairs to train on, 3 to test on"):
        assert said in text
    assert "- remarks on images: 7 × wording cut\n" in text
    for said in (
        "## Labels",
        "clip 0.90",
        "drawn as worded: smoke neutral 0.90 [0.80, 0.95]",
        "shrunk &#124; &lt;b&gt;",
    ):
        assert said in text
    assert "| pixel art &#124; preferred &lt;b&gt; | style | avoid | 11 |" in text
    assert json.loads(pq.read_schema(run.dataset / "data/test-00000-of-00001.parquet").metadata[b"datagen"])


def test_the_card_states_the_sizes_and_the_rule_of_pools_where_there_are_pools(tmp_path: Path) -> None:
    pools = load("livo-debias", ["images.violating=3"])
    for name, given, stated in (("a", pools, True), ("b", load("pick-style", []), False)):
        run = fill(tmp_path / name, [pair(number) for number in range(4)])
        export(run, given)
        text = (run.dataset / "README.md").read_text()
        assert ("2 images of its aligned wording against 3" in text) == ("## Pools" in text) == stated
        assert "## How to draw a row again" in text
