"""Pairs in WebDataset archives, and in the layouts of other publishers."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training import data
from training.errors import TrainingError

Picture = Callable[..., bytes]
Rows = Callable[..., list[dict[str, Any]]]


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    content = stream.getvalue()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def samples(rows: list[dict[str, Any]], first: int = 0) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for i, row in enumerate(rows, first):
        texts = {name: value for name, value in row.items() if name not in ("chosen", "rejected", "prompt")}
        files |= {f"{i:05d}.chosen.png": row["chosen"]["bytes"], f"{i:05d}.rejected.png": row["rejected"]["bytes"]}
        files |= {f"{i:05d}.prompt.txt": row["prompt"].encode(), f"{i:05d}.json": json.dumps(texts).encode()}
    return files


@pytest.mark.parametrize("name", ["train.tar", "pairs.tar.gz"])
def test_pairs_of_an_archive_are_those_of_the_same_parquet(name: str, tmp_path: Path, make_rows: Rows) -> None:
    rows = [{**row, "probability": 0.5 + i / 20} for i, row in enumerate(make_rows(7))]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    whole = data.load(str(tmp_path / "pairs.parquet"))
    path = archive(tmp_path / name, samples(rows))
    found = data.load(str(path))
    assert found.digest() == whole.digest() and found.probabilities == whole.probabilities
    for row in (6, 0, 3, 3, 1):  # in any order
        assert found.images.bytes(found.chosen[row]) == rows[row]["chosen"]["bytes"]


def test_several_archives_are_one_set_by_braces_or_in_a_folder_and_know_splits(
    tmp_path: Path, make_rows: Rows
) -> None:
    rows = make_rows(8)
    for i in range(4):
        archive(tmp_path / f"train-{i:03d}.tar", samples(rows[2 * i : 2 * i + 2], 2 * i))
    archive(tmp_path / "test-000.tar", samples(make_rows(1, 8)))
    whole = data.load(str(tmp_path))
    assert whole.prompts == [row["prompt"] for row in rows]
    assert data.load(str(tmp_path / "train-{000..003}.tar")).digest() == whole.digest()
    assert data.load(str(tmp_path / "train-{001..002}.tar")).prompts == [row["prompt"] for row in rows[2:6]]
    assert len(data.load(str(tmp_path), split="test")) == 1
    with pytest.raises(TrainingError, match="there is no .*train-004.tar: 1 of the 5 files"):
        data.load(str(tmp_path / "train-{000..004}.tar"))


def test_picks_in_an_archive_are_read_by_their_labels(tmp_path: Path, make_picture: Picture) -> None:
    files: dict[str, bytes] = {}
    for i, labels in enumerate([(1, 0), (0, 1), (0.5, 0.5), (0.25, 0.75)]):
        files |= {f"{i}.jpg_0": make_picture(2 * i), f"{i}.jpg_1": make_picture(2 * i + 1), f"{i}.txt": b"no"}
        files[f"{i}.json"] = json.dumps({"caption": f"c{i}", "label_0": labels[0], "label_1": labels[1]}).encode()
    pairs = data.load(str(archive(tmp_path / "a.tar", files)))
    assert pairs.prompts == ["c0", "c1", "c3"] and pairs.dropped == 1
    assert [pairs.images.bytes(row) for row in pairs.chosen] == [make_picture(n) for n in (0, 3, 7)]
    assert pairs.probabilities == [1.0, 1.0, 0.75]


def test_what_is_wrong_with_a_sample_is_told_and_left_out(
    tmp_path: Path, make_rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    files = samples(make_rows(5))
    files["00001.json"] = b"{"
    del files["00002.rejected.png"]
    files["00003.chosen.png"] = b""
    files["00003.chosen.jpg"] = b""
    del files["00004.prompt.txt"]
    files["notes"] = b"words"
    path = archive(tmp_path / "a.tar", dict(sorted(files.items())))
    with pytest.raises(TrainingError, match="4 of 5 pairs cannot be used: a.tar sample 00001 .*json.*; ") as caught:
        data.load(str(path))
    assert "\n" not in str(caught.value)
    assert len(data.load(str(path), skip_bad=True)) == 1
    assert "passed over in a.tar: 1 files whose names have no suffix" in capsys.readouterr().err


def test_an_archive_that_is_cut_off_is_said_and_what_is_whole_is_read(
    tmp_path: Path, make_rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    path = archive(tmp_path / "a.tar", samples(make_rows(6)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = data.load(str(path), skip_bad=True)
    assert 1 <= len(found) <= 4
    assert "a.tar is damaged: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "second", "prompt", "labels"),
    [
        ("image_0", "image_1", "prompt", ("label_0", "label_1")),
        ("image1", "image2", "prompt", ("weighted_results_image1_preference", "weighted_results_image2_preference")),
        ("image_a", "image_b", "text", ("label_a", "label_b")),
        ("jpg_0", "jpg_1", "prompt", ("label_0", "label_1")),
    ],
)
def test_labelled_pairs_under_other_names(
    first: str, second: str, prompt: str, labels: tuple[str, str], tmp_path: Path, make_picture: Picture
) -> None:
    rows = [
        {first: make_picture(2 * i), second: make_picture(2 * i + 1), prompt: "x", labels[0]: a, labels[1]: 1 - a}
        for i, a in enumerate([1.0, 0.25, 0.5])
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    pairs = data.load(str(tmp_path))
    assert [pairs.images.bytes(row) for row in pairs.chosen] == [make_picture(0), make_picture(3)]
    assert pairs.probabilities == [1.0, 0.75] and pairs.dropped == 1


def test_rows_that_nobody_compared_are_no_pairs(tmp_path: Path, make_picture: Picture) -> None:
    rows = [
        {
            "jpg_0": make_picture(2 * i),
            "jpg_1": make_picture(2 * i + 1),
            "caption": "x",
            "label_0": None if i == 2 else 1.0,
            "label_1": None if i == 2 else 0.0,
            "has_label": i == 0,
        }
        for i in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    pairs = data.load(str(tmp_path))
    assert len(pairs) == 1 and pairs.dropped == 2


def test_first_images_that_were_preferred_by_their_column(tmp_path: Path, make_picture: Picture) -> None:
    rows = [{"prompt": "x", "path1": make_picture(0), "path2": make_picture(1)}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    pairs = data.load(str(tmp_path))
    assert pairs.images.bytes(pairs.chosen[0]) == make_picture(0)


def test_images_without_labels_say_which_columns_lack(tmp_path: Path, make_picture: Picture) -> None:
    rows = [{"caption": "x", "jpg_0": make_picture(0), "jpg_1": make_picture(1)}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    with pytest.raises(TrainingError, match="the nearest lacks label_0, label_1"):
        data.load(str(tmp_path))
