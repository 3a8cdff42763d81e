"""Pairs that lie on an object store: the run that made them or the dataset alone, as from a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_store import credentials, serving

from datagen.errors import RunError
from training import data
from training.errors import TrainingError


def test_pairs_of_a_store_are_those_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_picture: Callable[..., bytes]
) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": f"a chef {i}", "chosen": make_picture(2 * i), "rejected": make_picture(2 * i + 1)} for i in range(3)
    ]
    folder = tmp_path / "buckets" / "pictures" / "runs" / "one" / "dataset"
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "train-00000-of-00001.parquet")
    (tmp_path / "local").mkdir()
    shutil.copytree(folder, tmp_path / "local" / "dataset")
    there = data.load(str(tmp_path / "local" / "dataset"))
    with serving(tmp_path / "buckets") as store, credentials(monkeypatch, store, tmp_path / "copies"):
        store.rate, store.only = 0.2, "reset"
        alone = data.load("s3://pictures/runs/one/dataset/")
        (folder.parent / "dataset.sha256").write_text("# 1 files\n")
        (folder.parent / "tables").mkdir()
        shutil.copy(folder / "data" / "train-00000-of-00001.parquet", folder.parent / "tables" / "pairs.parquet")
        of_run = data.load("s3://pictures/runs/one")
        store.rate = 0.0
        with pytest.raises(RunError, match="there is nothing at s3://pictures/nothing"):
            data.load("s3://pictures/nothing")
        with pytest.raises(TrainingError, match="nothing is known of s4://"):
            data.load("s4://pictures/runs")
    assert alone.prompts == of_run.prompts == there.prompts == [row["prompt"] for row in rows]
