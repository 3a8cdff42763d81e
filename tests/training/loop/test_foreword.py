"""What a training says before its first step: captions that are cut, rows left out, passes, settings nobody gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.run import main

LONG = "a chef " * 60


def said(model: Path, data: Path, out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    line = ["--data", str(data), "--model", str(model), "--out", str(out), "--steps", "1", "--batch", "2"]
    assert main([*line, "--lr", "1e-5", *more]) == 0
    return capsys.readouterr().out.splitlines()


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_captions_that_are_cut_are_counted(
    family: str, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    rows = make_rows(6)  # five captions
    for i, row in enumerate(rows):
        row["prompt"] = LONG + str(i) if i in (1, 3) else row["prompt"]
    data, folder = table(tmp_path / "pairs.parquet", rows), request.getfixturevalue(f"{family}_folder")
    first = said(folder, data, tmp_path / "out", capsys, "--method", "sft")[0]
    assert first.startswith("sft on 6 pairs: ")
    assert first.endswith("; 2 of 5 captions are longer than 77 tokens and are cut there")


def test_a_principle_before_the_caption_counts_with_it(
    sd15_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(2)
    rows[0]["principle"] = "smoke " * 90
    data = table(tmp_path / "pairs.parquet", rows)
    assert "; 1 of 2 captions are longer" in said(sd15_folder, data, tmp_path / "a", capsys, "--method", "livo")[0]
    assert "captions" not in said(sd15_folder, data, tmp_path / "b", capsys, "--method", "sft")[0]


def test_what_each_image_shows_counts_where_it_is_read(
    sd15_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "chosen_prompt": "a chef", "rejected_prompt": LONG} for row in make_rows(2)]
    data = table(tmp_path / "pairs.parquet", rows)
    assert "; 1 of 4 captions are longer" in said(sd15_folder, data, tmp_path / "a", capsys, "--method", "dcpo")[0]


def test_ties_are_counted(
    sd15_folder: Path, make_picture: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (0.5, 0.5)]
    rows = [
        {"caption": "a", "jpg_0": make_picture(2 * i), "jpg_1": make_picture(2 * i + 1), "label_0": a, "label_1": b}
        for i, (a, b) in enumerate(labels)
    ]
    data = table(tmp_path / "pairs.parquet", rows)
    first = said(sd15_folder, data, tmp_path / "out", capsys, "--method", "sft")[0]
    assert first.startswith("sft on 2 pairs (2 rows left out, which are ties or have no partner): ")


@pytest.mark.parametrize(
    ("more", "passes", "warns"),
    [
        (["--steps", "3", "--batch", "4"], "1 passes", []),
        (["--steps", "3", "--batch", "6"], "1.5 passes", []),
        (["--steps", "2", "--batch", "2400"], "400 passes", ["400 passes over 12 pairs", "takes 2,400 pairs of 12"]),
        (
            ["--steps", "1", "--batch", "16"],
            "1.33 passes",
            ["a step takes 16 pairs of 12: some of them"],
        ),
        (
            ["--steps", "3", "--warmup", "6"],
            "0.5 passes",
            ["warm-up of 6 steps does", "reaches 5e-06 of 1e-05"],
        ),
    ],
)
def test_passes_over_the_data_are_said_and_warned_of(
    more: list[str],
    passes: str,
    warns: list[str],
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.train.learn", lambda *given: None)
    more = ["--method", "sft", *(["--warmup", "0"] if "--warmup" not in more else []), *more]
    lines = said(sd15_folder, dataset, tmp_path / "out", capsys, *more)
    assert f"({passes})" in lines[0]
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert all(any(text in line for line in warnings) for text in warns) and bool(warns) == bool(warnings)


def test_settings_that_nobody_gave_are_said(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(sd15_folder, dataset, tmp_path / "out", capsys, "--method", "dpo", "--lora-rank", "2")
    assert ", lr 1e-05, beta 2000, smoothing 0, hard labels" in lines[0]
    assert sorted(lines[1:3]) == [
        "not given: beta 2000: published for dpo on Stable Diffusion 1.5",
        "not given: warmup 0: published for dpo on Stable Diffusion 1.5 with LoRA",
    ]
    assert "lora" in str(sorted(path.name for path in (tmp_path / "out").iterdir()))
