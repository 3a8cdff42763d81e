"""Runs whose frozen weights are in half precision: what they learn from, what they say, how they are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.run import main

LINES = ["mapo --lora-rank 2", "dpo --lora-rank 2", "livo", "livo --encoder-rank 2", "dpo"]


def line(model: Path, dataset: Path, out: Path, *more: str) -> list[str]:
    given = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--batch", "4", "--steps", "2"]
    return [*given, "--lr", "1e-7", "--warmup", "0", "--method", *more]


def first(out: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    return found


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
@pytest.mark.parametrize("trained", LINES)
def test_a_run_is_near_the_one_in_full_precision(
    trained: str, kind: str, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full, held = (line(sd15_folder, dataset, tmp_path / out, *trained.split()) for out in ("full", "half"))
    assert main([*full, "--precision", "fp32"]) == 0
    assert main([*held, "--frozen-precision", kind, "--grid-every", "2"]) == 0
    said = capsys.readouterr().out
    assert f", {kind}, cpu" in said
    assert ("text encoders stay in fp32" in said) is ("livo" in trained)
    assert ("the U-Net is trained and stays in fp32" in said) is (trained == "dpo")
    wanted, found = first(tmp_path / "full"), first(tmp_path / "half")
    for name in ("chosen_error", "rejected_error"):  # of which a loss multiplies the difference by its beta
        assert found[name] == pytest.approx(wanted[name], rel=0.02), name
    assert json.loads((tmp_path / "half" / "training.json").read_text())["run"]["frozen_precision"] == kind
    files = [path for path in (tmp_path / "half").rglob("*.safetensors") if "checkpoints" not in path.parts]
    kinds = {t.dtype for path in files for t in load_file(path).values() if t.is_floating_point()}
    assert kinds == {torch.float32}


def test_a_run_goes_on_in_its_own_precision_only(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = line(sd15_folder, dataset, tmp_path / "out", "sft", "--lora-rank", "2")
    assert main([*begun, "--frozen-precision", "bf16"]) == 0
    assert main([*begun, "--frozen-precision", "bf16", "--precision", "bf16"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main([*begun, "--precision", "bf16"]) == 2
    assert "it differs in frozen_precision)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("frozen", "precision"), [("bf16", "fp32"), ("bf16", "fp16"), ("fp16", "fp32"), ("fp16", "bf16")]
)
def test_a_forward_pass_of_another_precision_is_refused(
    frozen: str, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", "x", "--out", "y", "--method", "dpo", "--frozen-precision", frozen, "--precision", precision]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert f"--frozen-precision {frozen}: the forward pass" in error and f"not {precision}" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("given", ["fp8", "half", "float16", "BF16", ""])
def test_an_unknown_precision_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "x", "--out", "y", "--method", "dpo", "--frozen-precision", given]) == 2
    error = capsys.readouterr().err
    assert "--frozen-precision is" in error and "bf16" in error and error.count("\n") == 1
