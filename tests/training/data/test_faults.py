"""Pairs that cannot be used: all are named at once; with --skip-bad they are left out, and counted."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from training import data
from training.errors import TrainingError
from training.run import main

Picture = Callable[..., bytes]
Rows = Callable[..., list[dict[str, Any]]]


def cut(picture: bytes) -> bytes:
    """A JPEG with half of its pixels, whose header is sound."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(picture), formats=["PNG"]).save(stream, "JPEG")
    return stream.getvalue()[: len(stream.getvalue()) - 100]


def spoilt(rows: list[dict[str, Any]], make_picture: Picture) -> list[dict[str, Any]]:
    """Seven of ten rows, each with another fault; 7 to 9 are sound."""
    rows[0]["prompt"] = None
    rows[1]["prompt"] = "  "
    rows[2]["chosen"] = {"bytes": None, "path": "gone.png"}
    rows[3]["rejected"] = {"bytes": b"GIF?", "path": "x.png"}
    rows[4]["chosen"] = {"bytes": make_picture(1, (64, 96)), "path": "x.png"}
    rows[5]["rejected"] = {"bytes": cut(make_picture(1)), "path": "x.png"}
    rows[6]["probability"] = 2.0
    return rows


def write(folder: Path, rows: list[dict[str, Any]]) -> str:
    folder.mkdir(exist_ok=True)
    for start in (0, 5):  # in two files
        pq.write_table(pa.Table.from_pylist(rows[start : start + 5]), folder / f"train-{start}.parquet")
    return str(folder)


@pytest.fixture
def source(tmp_path: Path, make_rows: Rows, make_picture: Picture) -> str:
    rows = [{**row, "probability": 0.9} for row in make_rows(10)]
    return write(tmp_path / "data", spoilt(rows, make_picture))


def test_all_are_named_at_once(source: str) -> None:
    with pytest.raises(TrainingError) as caught:
        data.load(source)
    said = str(caught.value)
    assert "6 of 10 pairs cannot be used: " in said  # the cut one shows when it is decoded
    assert "train-0.parquet row 0: prompt must be a text, not nothing; train-0.parquet row 1: prompt must be" in said
    assert "row 2: chosen holds no image bytes, and there is no file" in said
    assert said.endswith("; and 3 more (--skip-bad leaves such pairs out)") and "\n" not in said


def test_they_are_left_out_and_counted(source: str, make_rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = data.load(source, skip_bad=True)
    assert pairs.prompts == [row["prompt"] for row in make_rows(10)[7:]]
    assert pairs.probabilities == [0.9] * 3 and (pairs.unusable, pairs.dropped) == (7, 0)
    for i, row in enumerate(make_rows(10)[7:]):
        assert pairs.images.bytes(pairs.chosen[i]) == row["chosen"]["bytes"]
    assert "7 of 10 pairs of" in (said := capsys.readouterr().err) and "are left out: train-0.parquet row 0" in said


def test_what_is_left_is_what_it_would_be_alone(source: str, tmp_path: Path, make_rows: Rows) -> None:
    rows = [{**row, "probability": 0.9} for row in make_rows(10)]
    (tmp_path / "sound").mkdir()
    pq.write_table(pa.Table.from_pylist(rows[7:]), tmp_path / "sound" / "train-0.parquet")
    assert data.load(source, skip_bad=True).digest() == data.load(str(tmp_path / "sound")).digest()


def test_nothing_left_is_no_data(tmp_path: Path, make_rows: Rows) -> None:
    rows = [{**row, "chosen": {"bytes": b"", "path": None}} for row in make_rows(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train-0.parquet")
    with pytest.raises(TrainingError, match="3 of 3 pairs cannot be used: train-0.parquet row 0: chosen holds no"):
        data.load(str(tmp_path), skip_bad=True)


def test_sound_data_are_the_same_with_it(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, skipping = data.load(str(dataset)), data.load(str(dataset), skip_bad=True)
    assert plain.digest() == skipping.digest() and skipping.unusable == 0
    assert capsys.readouterr().err == ""


def test_a_limit_counts_the_rows_that_are_looked_at(source: str) -> None:
    assert len(data.load(source, skip_bad=True, limit=8)) == 1
    with pytest.raises(TrainingError, match="2 of 2 pairs cannot be used"):
        data.load(source, skip_bad=True, limit=2)


@pytest.mark.parametrize("label", [None, float("nan")])
def test_a_label_that_is_none_is_a_fault_and_no_tie(label: Any, tmp_path: Path, make_picture: Picture) -> None:
    labels = [(1.0, 0.0), (label, label), (0.5, 0.5), (0.0, 1.0)]
    rows = [
        {"caption": "x", "jpg_0": make_picture(2 * i), "jpg_1": make_picture(2 * i + 1), "label_0": a, "label_1": b}
        for i, (a, b) in enumerate(labels)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train-0.parquet")
    pairs = data.load(str(tmp_path), skip_bad=True)
    assert (len(pairs), pairs.unusable, pairs.dropped) == (2, 1, 1)


def test_a_training_says_how_many_are_left_out(
    source: str, sd15_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", source, "--model", str(sd15_folder), "--out", str(tmp_path / "out"), "--method", "dpo"]
    line += ["--steps", "1", "--batch", "2"]
    assert main(line) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "out").exists()
    assert main([*line, "--skip-bad"]) == 0
    assert capsys.readouterr().out.startswith("dpo on 3 pairs (7 left out, which cannot be used): ")


def test_a_picture_that_is_cut_is_named_with_all_others(
    sd15_folder: Path, tmp_path: Path, make_rows: Rows, make_picture: Picture, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(6)
    for i in (1, 4):
        rows[i]["chosen"] = {"bytes": cut(make_picture(90 + i)), "path": "x.png"}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train-0.parquet")
    line = ["--data", str(tmp_path / "train-0.parquet"), "--model", str(sd15_folder), "--out", str(tmp_path / "out")]
    assert main([*line, "--method", "sft", "--steps", "1", "--batch", "2"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "2 images cannot be decoded: train-0.parquet row 1: chosen" in error and "row 4: chosen" in error
    assert "--skip-bad" in error


def test_a_pair_of_one_image_is_refused_or_left_out(tmp_path: Path, make_rows: Rows) -> None:
    rows = make_rows(3)
    rows[1]["rejected"] = rows[1]["chosen"]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    with pytest.raises(TrainingError, match=r"1 of 3 pairs .*row 1: chosen.*: chosen and rejected are the same image"):
        data.load(str(tmp_path))
    assert len(data.load(str(tmp_path), skip_bad=True)) == 2


@pytest.mark.parametrize("value", ["1" + "0" * 400, '"x"', "null", "[0.5]", "NaN"])
def test_what_is_no_probability_is_named(value: str, tmp_path: Path, make_picture: Picture) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(make_picture(ord(name[0])))
    line = f'{{"prompt": "p", "chosen": "a.png", "rejected": "b.png", "probability": {value}}}\n'
    (tmp_path / "train.jsonl").write_text(line)
    with pytest.raises(TrainingError, match="line 1: probability must be a number from 0 to 1") as caught:
        data.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_yes_and_no_are_no_probabilities(tmp_path: Path, make_rows: Rows) -> None:
    rows = [{**row, "probability": True} for row in make_rows(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    with pytest.raises(TrainingError, match="probability must be a number from 0 to 1, not bool"):
        data.load(str(tmp_path))
