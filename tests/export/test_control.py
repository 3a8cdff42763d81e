"""Control arms: the same pairs with labels exchanged, loudly marked, read by the trainer, in no other arm's place."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pictured_pairs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datagen import export, records, store
from datagen.errors import RunError
from datagen.export import control
from datagen.recipe import load
from datagen.records import Pair, Score
from training.data.load import load as training_load

COUNT = 21


def picture(shade: int) -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade % 256, 0, 0)).save(file, "png")
    return pictured_pairs.keep(file.getvalue())


def pair(number: int, **changes: Any) -> Pair:
    scores = {"clip": {"chosen": {"match": 1.0}, "rejected": {"match": 0.5}}}
    made = Pair(
        f"pair {number}", f"prompt {number}", "calm", "style", "prefer", picture(2 * number), picture(2 * number + 1),
        f"new {number}", f"old {number}", 0.97, 1.0, json.dumps(scores), 1, 2, "sdxl", "abc", 20, 4.0, "ddim",
        "pick-style", "openrail++", f"id {number}", "test" if number % 3 == 0 else "train", rejected_generator="sd15",
        chosen_unread=3, options='{"long_prompts": "windows"}',
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def finished(root: Path, rows: list[Pair]) -> export.Finished:
    run, recipe = store.Run(root), load("pick-style", [])
    footer: dict[str, Any] = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}
    for index, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        judged = [Score("i", row.prompt_id, "clip", "3", "match", 0.5) for row in part]
        run.commit("scores", index, records.to_table(Score, judged), **footer)
        pictured_pairs.commit(run, index, part)
    known = {"run": run, "recipe": recipe, "profile": recipe.profile("sd15"), "shards": 2, "content": "c"}
    needed = [
        f.name for f in dataclasses.fields(export.Finished) if f.default is f.default_factory is dataclasses.MISSING
    ]
    others = {name: {} for name in needed if name not in known}
    return export.Finished(**{**others, **known})


def written(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(folder.glob("data/*.parquet"))
    return {row["pair_id"]: row for file in files for row in pq.read_table(file).to_pylist()}


def test_all_columns_of_a_side_are_known() -> None:
    sided = {name for two in control.SIDES for name in two}
    assert not [
        f.name for f in dataclasses.fields(Pair) if re.search("chosen|rejected", f.name) and f.name not in sided
    ]
    assert sided <= {field.name for field in dataclasses.fields(Pair)}


def test_swapped_exchanges_every_pair_with_all_that_belongs_to_its_images(tmp_path: Path) -> None:
    real = finished(tmp_path / "run", [pair(number) for number in range(COUNT)])
    export.write(real, "huggingface", tmp_path / "real")
    export.write(export.arm(real, "swapped"), "huggingface", tmp_path / "swapped")
    before, after = written(tmp_path / "real"), written(tmp_path / "swapped")
    assert list(before) == list(after) and len(after) == COUNT
    for name, row in after.items():
        for two in control.SIDES:
            one, other = (column.removesuffix("_id") for column in two)  # the dataset holds the pictures themselves
            assert (row[one], row[other]) == (before[name][other], before[name][one])
        assert row["probability"] == before[name]["probability"] and row["prompt"] == before[name]["prompt"]
        assert json.loads(row["scores"])["clip"] == {"chosen": {"match": 0.5}, "rejected": {"match": 1.0}}
    kinds = [pq.read_schema(next(folder.glob("data/*"))) for folder in (tmp_path / "real", tmp_path / "swapped")]
    assert kinds[0].equals(kinds[1])


def test_random_exchanges_half_of_each_split_the_same_on_every_call(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(COUNT)]
    real = finished(tmp_path / "run", rows)
    export.write(export.arm(real, "random"), "huggingface", tmp_path / "one")
    export.write(export.arm(real, "random"), "huggingface", tmp_path / "two")
    found = written(tmp_path / "one")
    turned = {name for name, row in found.items() if row["chosen_prompt"].startswith("old")}
    assert found == written(tmp_path / "two")
    for split in ("train", "test"):
        own = {row.pair_id for row in rows if row.split == split}
        assert len(turned & own) == len(own) // 2
    assert 0 < len(turned & {f"pair {number}" for number in range(COUNT // 2)}) < COUNT // 2


def test_pairs_of_one_pool_stay_together(tmp_path: Path) -> None:
    rows = [pair(number, pool=f"scene {number % 4}", split="train") for number in range(20)]
    found = export.arm(finished(tmp_path / "run", rows), "random").run
    assert isinstance(found, control.Exchanged)
    read = [row for shard in range(2) for row in found.table("pairs", shard, ["pair_id", "chosen_prompt"]).to_pylist()]
    turned = {row["pair_id"] for row in read if row["chosen_prompt"].startswith("old")}
    pools = {row.pool for row in rows if row.pair_id in turned}
    assert len(read) == 20 and len(turned) == 10 and len(pools) == 2
    assert not [row for row in rows if row.pool in pools and row.pair_id not in turned]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["train", "test"]), min_size=1, max_size=40), st.integers(0, 2**31))
def test_at_random_the_half_of_each_split_that_comes_first_by_its_hash_is_exchanged(
    splits: list[str], seed: int
) -> None:
    rows = [pair(number, split=split) for number, split in enumerate(splits)]
    order = sorted(rows, key=lambda row: records.content_id("control", seed, row.pair_id))
    wanted = [row.pair_id for name in ("train", "test") for row in _first_half([r for r in order if r.split == name])]
    with tempfile.TemporaryDirectory() as folder:
        found = control.exchanged(finished(Path(folder), rows).run, 2, seed, "random")
        read = [row for k in range(2) for row in found.table("pairs", k, ["pair_id", "rejected_prompt"]).to_pylist()]
    assert {row["pair_id"] for row in read if row["rejected_prompt"].startswith("new")} == set(wanted)


def _first_half(rows: list[Pair]) -> list[Pair]:
    return rows[: len(rows) // 2]


def test_whichever_columns_a_format_asks_for_they_are_exchanged(tmp_path: Path) -> None:
    run = export.arm(finished(tmp_path / "run", [pair(number) for number in range(COUNT)]), "swapped").run
    table = run.table("pairs", 0, ["chosen_prompt", "prompt"])
    assert table.column_names == ["chosen_prompt", "prompt"] and table["chosen_prompt"][0].as_py() == "old 0"
    assert run.table("pairs", 0, ["generator"]).to_pylist()[0] == {"generator": "sd15"}
    assert run.table("scores", 0, ["judge"]).num_rows == COUNT // 2


@pytest.mark.parametrize("arm", ["random", "swapped"])
def test_card_and_files_say_so_loudly_and_the_trainer_reads_them(tmp_path: Path, arm: str) -> None:
    real = finished(tmp_path / "run", [pair(number) for number in range(COUNT)])
    export.write(export.arm(real, arm), "huggingface", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"# CONTROL ARM, {arm} labels: pick-style\n\n**These labels are wrong on purpose" in card
    assert f'pretty_name: "CONTROL ARM, {arm} labels: pick-style"' in card and '- "control-arm"' in card
    names = sorted(file.name for file in tmp_path.glob("out/data/*"))
    assert names == [f"{split}-control-{arm}-00000-of-00001.parquet" for split in ("test", "train")]
    pairs = training_load(str(tmp_path / "out"))
    assert len(pairs.prompts) == 14 and len(training_load(str(tmp_path / "out"), split="test").prompts) == 7


def test_no_arm_takes_the_place_of_the_real_labels_nor_they_of_an_arm(tmp_path: Path) -> None:
    real = finished(tmp_path / "run", [pair(number) for number in range(COUNT)])
    arms = {name: export.arm(real, name) for name in ("random", "swapped")}
    every = {"real": real, **arms}
    for name, of in every.items():
        assert export.write(of, "huggingface", tmp_path / name) and not export.write(
            of, "huggingface", tmp_path / name
        )
    for name in every:
        for other, of in every.items():
            if other != name:
                with pytest.raises(RunError, match="holds a huggingface.* export, not a huggingface"):
                    export.write(of, "huggingface", tmp_path / name)
    real.run.dataset.mkdir(parents=True)
    with pytest.raises(RunError, match="holds something that is not a huggingface control-swapped export"):
        export.write(arms["swapped"], "huggingface", real.run.dataset)


def test_a_run_without_pairs_has_arms_without_pairs(tmp_path: Path) -> None:
    assert export.write(export.arm(finished(tmp_path / "run", []), "random"), "huggingface", tmp_path / "out")
    assert isinstance(pq.read_table(next(tmp_path.glob("out/data/*"))), pa.Table)
