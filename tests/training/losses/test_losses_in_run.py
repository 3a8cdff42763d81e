"""Losses as run.py offers them: soft labels and weights reach them; what they cannot be fed is refused in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from training import data
from training.errors import TrainingError
from training.losses import LOSSES
from training.run import main
from training.settings.training import Settings
from training.settings.training import parse as parse_line

Rows = Callable[..., list[dict[str, object]]]
SERVED = [name for name in LOSSES if name not in ("livo", "clip_align")]
COLUMNS: dict[str, list[Any]] = {
    "probability": [0.9, 0.8, 0.7, 0.6],
    "chosen_reward": [0.9, 0.8, 0.7, 0.6],
    "rejected_reward": [0.1, 0.2, 0.3, 0.4],
    "chosen_prompt": ["a", "b", "c", "d"],
    "rejected_prompt": ["e", "f", "g", "h"],
}


def write(folder: Path, rows: list[dict[str, object]], **columns: list[Any]) -> Path:
    """The rows with more columns, as one Parquet file."""
    path = folder / "pairs.parquet"
    for name, values in columns.items():
        rows = [{**row, name: value} for row, value in zip(rows, values, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def train(model: Path, source: Path, out: Path, *more: str) -> dict[str, torch.Tensor]:
    """The U-Net after two steps."""
    line = ["--data", str(source), "--model", str(model), "--out", str(out), "--steps", "2", "--batch", "2"]
    assert main([*line, "--lr", "1e-3", "--precision", "fp32", *more]) == 0
    return load_file(out / "unet" / "diffusion_pytorch_model.safetensors")


def parse(*more: str) -> Settings:
    return parse_line(["--data", "x", "--out", "y", *more])


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("method", SERVED)
def test_every_loss_that_is_served_trains(method: str, sd15_folder: Path, make_rows: Rows, tmp_path: Path) -> None:
    source = write(tmp_path, make_rows(4), **COLUMNS)
    train(sd15_folder, source, tmp_path / "out", "--method", method)
    line = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])
    assert all(value == value for value in line.values()) and line["gradient_norm"] > 0


@pytest.mark.parametrize("part", ["unet", "value-encoder"])
def test_clip_align_trains(
    part: str,
    sd15_folder: Path,
    clip_folder: Path,
    make_rows: Rows,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = write(tmp_path, make_rows(4), **COLUMNS)
    line = ["--data", str(source), "--model", str(sd15_folder), "--steps", "2", "--batch", "2", "--precision", "fp32"]
    line += ["--method", "clip_align", "--part", part, "--leak-penalty", "0"]
    assert main([*line, "--out", str(tmp_path / "none")]) == 2
    assert "clip_align needs --clip: an open_clip folder" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "out"), "--clip", "embedded"]) == 2  # which knows its own images only
    assert "clip_align needs --clip: an open_clip folder" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "out"), "--clip", str(clip_folder), "--micro-batch", "1"]) == 0
    last = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["gradient_norm"] > 0 and -2 < last["margin"] < 2


def test_probabilities_and_weights_reach_the_loss(sd15_folder: Path, make_rows: Rows, tmp_path: Path) -> None:
    method = ["--method", "dpo", "--beta", "500"]
    plain = train(sd15_folder, write(tmp_path, make_rows(4)), tmp_path / "plain", *method)
    certain = write(tmp_path, make_rows(4), probability=[1.0] * 4, weight=[1.0] * 4)
    assert same(train(sd15_folder, certain, tmp_path / "certain", *method), plain)
    doubtful = write(tmp_path, make_rows(4), probability=[0.6] * 4)
    assert not same(train(sd15_folder, doubtful, tmp_path / "doubtful", *method), plain)
    assert same(train(sd15_folder, doubtful, tmp_path / "hard", *method, "--hard-labels"), plain)
    weightless = write(tmp_path, make_rows(4), weight=[0.0] * 4)
    idle = ["--weight-decay", "0"]
    still = train(sd15_folder, weightless, tmp_path / "weightless", *method, *idle)
    assert same(still, load_file(sd15_folder / "unet" / "diffusion_pytorch_model.safetensors"))


@pytest.mark.parametrize(
    ("method", "columns", "lacks"),
    [
        ("smpo", {}, "how likely each label is right: the data needs a column 'probability'"),
        ("dcpo", {}, "what each image shows: the data needs columns 'chosen_prompt' and 'rejected_prompt'"),
        ("clip_align", {}, "what each image shows: the data needs columns 'chosen_prompt' and 'rejected_prompt'"),
        ("capo", {}, "needs columns 'chosen_reward' and 'rejected_reward'"),
        ("capo", {"chosen_reward": [3.0] * 2, "rejected_reward": [0.5] * 2}, "calibrated rewards, the chances from 0"),
    ],
)
def test_losses_of_other_data_are_refused(
    method: str,
    columns: dict[str, list[Any]],
    lacks: str,
    sd15_folder: Path,
    make_rows: Rows,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = write(tmp_path, make_rows(2), **columns)
    line = ["--data", str(source), "--model", str(sd15_folder), "--out", str(tmp_path / "out"), "--method", method]
    assert main(line) == 2
    error = capsys.readouterr().err
    assert lacks in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--method", "smpo", "--hard-labels"], "leaves smpo without its probabilities"),
        (["--method", "mapo", "--hard-labels"], "changes nothing for mapo"),
        (["--method", "dpo", "--smoothing", "0.5"], "--smoothing is '0.5': it should be less than 0.5"),
        (["--method", "dmpo", "--alpha", "0.7"], "--alpha is '0.7': it should be less than 0.5"),
        (
            ["--method", "mapo", "--beta", "64"],
            "mapo: beta 64 with form code is on the scale of its paper; see --form",
        ),
        (["--method", "mapo", "--form", "exponent"], "released code: give --beta, 8 to 1024"),
        (["--method", "mapo", "--form", "odds"], "--form is 'odds': it should be 'code', 'exponent' or 'factor'"),
        (["--method", "dpo", "--form", "code"], "--form is an option of mapo"),
        (["--method", "dpo", "--desirable-weight", "2"], "--desirable-weight is an option of kto"),
    ],
)
def test_options_that_do_not_fit_are_refused(more: list[str], says: str) -> None:
    with pytest.raises(TrainingError) as caught:
        parse(*more)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_options_come_with_their_kinds() -> None:
    assert parse("--method", "mapo", "--form", "factor", "--beta", "64").loss["form"] == "factor"
    assert parse("--method", "mapo").loss["beta"] == 0.1
    assert parse("--method", "smpo").loss == {"beta": 50.0, "sensitivity": 10.0}
    assert parse("--method", "smpo", "--model", "elsewhere").loss["beta"] == 2000.0
    assert parse("--method", "smpo", "--model", "some/sdxl").loss["beta"] == 5000.0


def test_numbers_are_read_with_both_schemas_and_belong_to_the_digest(make_rows: Rows, tmp_path: Path) -> None:
    plain = data.load(str(write(tmp_path, make_rows(2))))
    assert plain.probabilities is None and plain.weights is None
    soft = data.load(str(write(tmp_path, make_rows(2), probability=[0.9, 0.8])))
    assert soft.probabilities == [0.9, 0.8] and soft.digest() != plain.digest()
    first, second = (plain.images.bytes(rows[0]) for rows in (plain.chosen, plain.rejected))
    pick = [{"caption": "x", "jpg_0": first, "jpg_1": second, "label_0": a, "label_1": 1 - a} for a in (0.5, 0.0, 1.0)]
    tied = data.load(str(write(tmp_path, pick, probability=[0.5, 0.7, 0.9], weight=[1, 2, 3])))
    assert tied.probabilities == [0.7, 0.9] and tied.weights == [2, 3]
