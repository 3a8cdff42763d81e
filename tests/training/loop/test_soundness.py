"""Trainings whose numbers stop being finite end in one line, and nothing that is not finite is ever written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from training.errors import TrainingError
from training.loop.update import Update
from training.run import main
from training.settings.training import parse


def arguments(model: Path, dataset: Path, out: Path, *more: str) -> list[str]:
    line = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--steps", "4", "--batch", "4"]
    line += ["--lr", "1e-3", "--warmup", "0", "--precision", "fp32", "--device", "cpu", "--checkpoint-every", "1"]
    return [*line, *more]


def all_finite(folder: Path) -> bool:
    """Of whatever lies there."""
    return all(t.isfinite().all() for path in folder.rglob("*.safetensors") for t in load_file(path).values())


def steps_of(out: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (out / "checkpoints").glob("step-*"))


LORA = ["--method", "dpo", "--lora-rank", "2"]


@pytest.mark.parametrize(
    "more",
    [
        [*LORA, "--lora-alpha", "1e30"],
        [*LORA, "--lora-alpha", "1e38"],
        [*LORA, "--lora-alpha", "1e300"],
        [*LORA, "--lora-alpha", "1e38", "--lr", "10", "--steps", "1"],  # finite weights of which nothing can be drawn
        ["--method", "sft", "--lr", "1e10", "--weight-decay", "0"],
        ["--method", "sft", "--lr", "1e18", "--weight-decay", "0", "--steps", "1"],
        ["--method", "sft", "--lr", "1e308", "--weight-decay", "0"],
        ["--method", "mapo", "--timescale", "1e300"],
        ["--method", "dpo", "--beta", "1e300"],
        ["--method", "ipo", "--beta", "1e160"],
        ["--method", "pso", "--factor", "1e300"],
        ["--method", "sft", "--noise-offset", "1e30"],
        ["--method", "livo", "--leak-penalty", "1e38"],
        ["--method", "sft", "--optimizer", "adafactor", "--lr", "1e20", "--weight-decay", "0"],
        [*LORA, "--frozen-precision", "bf16", "--precision", "bf16", "--lora-alpha", "1e38"],
    ],
    ids=" ".join,
)
def test_settings_that_are_far_too_large_end_in_one_line(
    more: list[str], sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(arguments(sd15_folder, dataset, out, *more)) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and ": lower --lr, and what else is large (--lora-alpha, --beta" in error
    assert not (out / "training.json").exists() and not list(out.glob("*.safetensors")) and all_finite(out)
    lines = (out / "metrics.jsonl").read_text()
    assert "NaN" not in lines and "Infinity" not in lines


@pytest.mark.parametrize("what", ["weights", "gradients"])
def test_the_last_sound_checkpoint_stays_and_its_weights_can_be_had(
    what: str, sd15_folder: Path, dataset: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    step = Update.__call__

    def breaks(self: Update, number: int) -> Any:
        scored, norm = step(self, number)
        if number >= 13 and what == "weights":
            with torch.no_grad():
                self.weights[0].view(-1)[0] = torch.inf
        return scored, norm * torch.nan if number >= 13 and what == "gradients" else norm

    out = tmp_path / "out"
    line = arguments(sd15_folder, dataset, out, "--method", "sft", "--checkpoint-every", "4", "--steps", "30")
    with monkeypatch.context() as patch:
        patch.setattr(Update, "__call__", breaks)
        assert main(line) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert "; the checkpoint of step 12 is sound, and --steps 12 ends with its weights" in error
    assert steps_of(out) == [8, 12] and all_finite(out)
    assert main([*line, "--steps", "12"]) == 0
    whole = arguments(sd15_folder, dataset, tmp_path / "whole", "--method", "sft", "--steps", "12")
    assert main(whole) == 0
    name = "unet/diffusion_pytorch_model.safetensors"
    first, second = (load_file(it / name) for it in (out, tmp_path / "whole"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_steps_that_fp16_leaves_out_are_counted(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = arguments(sd15_folder, dataset, tmp_path / "some", *LORA, "--precision", "fp16", "--steps", "12")
    assert main([*line, "--beta", "2000", "--checkpoint-every", "100"]) == 0
    said = capsys.readouterr().out
    state = json.loads((tmp_path / "some/checkpoints/step-00000012/state.json").read_text())
    left = 12 - state["optimizer_step"]
    assert left > 0 and f"note: {left} of 12 steps were left out, since their gradients overflowed in fp16" in said
    none = arguments(sd15_folder, dataset, tmp_path / "none", *LORA, "--precision", "fp16", "--lora-alpha", "1e20")
    assert main(none) == 0
    said = capsys.readouterr().out
    assert "note: 4 of 4 steps were left out, since their gradients overflowed in fp16: nothing was learnt" in said


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_a_run_that_stops_before_its_first_step_was_taken_goes_on(
    name: str, sd15_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [*LORA, "--precision", "fp16", "--beta", "2000", "--steps", "9", "--batch", "1", "--optimizer", name]
    more += ["--checkpoint-every", "100"]
    whole, parts = (arguments(sd15_folder, dataset, tmp_path / out, *more) for out in ("whole", "parts"))
    step = Update.__call__

    def fails(self: Update, number: int) -> Any:
        if number == 1:
            raise OSError(28, "No space left on device", "x")
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Update, "__call__", fails)
        assert main([*parts, "--checkpoint-every", "1"]) == 2
    assert json.loads((tmp_path / "parts/checkpoints/step-00000001/state.json").read_text())["optimizer_step"] == 0
    assert main(parts) == 0 and main(whole) == 0
    first, second = (load_file(tmp_path / it / "pytorch_lora_weights.safetensors") for it in ("whole", "parts"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_training_that_learns_nothing_says_so(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(sd15_folder, dataset, tmp_path / "out", *LORA, "--lora-alpha", "1e-30")) == 0
    said = capsys.readouterr().out
    assert said.count("nothing is learnt") == 1 and "warning: the gradient is " in said
    assert main(arguments(sd15_folder, dataset, tmp_path / "some", *LORA)) == 0
    assert "nothing is learnt" not in capsys.readouterr().out


@pytest.mark.parametrize(("rate", "decay"), [("1e-3", "1000"), ("1", "1"), ("1e-5", "1e300"), ("2", "0.5")])
def test_weight_decay_that_takes_whole_weights_is_refused(rate: str, decay: str) -> None:
    line = ["--data", "x", "--out", "y", "--method", "sft", "--lr", rate, "--weight-decay", decay]
    with pytest.raises(TrainingError, match="--lr .* times --weight-decay .*: it has to be below 1"):
        parse(line)
    assert parse([*line[:-1], "0.1"]).optimizer.weight_decay == 0.1
