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


@pytest.mark.parametrize("kind", ["bf16", pytest.param("fp16", marks=pytest.mark.slow)])
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


STARTS = {
    "lora": (["sft", "--lora-rank", "2"], ["dpo", "--lora-rank", "2"], "pytorch_lora_weights.safetensors"),
    "lora-mapo": (["sft", "--lora-rank", "2"], ["mapo", "--lora-rank", "2"], "pytorch_lora_weights.safetensors"),
    "unet": (["sft"], ["dpo"], "unet/diffusion_pytorch_model.safetensors"),
    "livo": (["livo"], ["livo"], "value_encoder/model.safetensors"),
    "livo-lora": (
        ["livo", "--encoder-rank", "2"],
        ["livo", "--encoder-rank", "2"],
        "value_encoder/adapter_model.safetensors",
    ),
}


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
@pytest.mark.parametrize("trained", STARTS)
def test_a_start_is_taken_as_it_is_though_what_is_frozen_is_rounded(
    trained: str, kind: str, sd15_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    before, then, weights = STARTS[trained]
    assert main(line(sd15_folder, dataset, tmp_path / "start", *before, "--lr", "0.02", "--precision", "fp32")) == 0
    more = [*then, "--init-from", str(tmp_path / "start"), "--lr", "1e-9", "--steps", "1"]
    assert main([*line(sd15_folder, dataset, tmp_path / "full", *more), "--precision", "fp32"]) == 0
    assert main([*line(sd15_folder, dataset, tmp_path / "half", *more), "--frozen-precision", kind]) == 0
    wanted, found = first(tmp_path / "full"), first(tmp_path / "half")
    for name in ("chosen_error", "rejected_error"):
        assert found[name] == pytest.approx(wanted[name], rel=0.02), name
    if then[0] == "dpo":  # whose reference is the start, in the same precision
        assert found["chosen_error"] == found["ref_chosen_error"]
    held = [load_file(tmp_path / out / weights) for out in ("start", "half")]
    assert held[0].keys() == held[1].keys()
    for name, value in held[0].items():  # 1e-9 is how far a step went; a rounded start is further away
        torch.testing.assert_close(held[1][name], value, rtol=1e-6, atol=2e-8)
    # Another start, or none, is another run.
    assert main([*line(sd15_folder, dataset, tmp_path / "half", *then), "--frozen-precision", kind]) == 2


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
