"""Runs that are killed, stopped or disturbed: the same command goes on, and ends as one that was not."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from training.run import main

# Children come from a server that has imported the program once, and has run no kernels whose threads a fork breaks.
CHILDREN = multiprocessing.get_context("forkserver")
PARTS = ["diffusers.models.unets.unet_2d_condition", "diffusers.models.autoencoders.autoencoder_kl"]
PARTS += ["diffusers.schedulers.scheduling_ddpm", "transformers.models.clip.modeling_clip"]
CHILDREN.set_forkserver_preload(["training.train", *PARTS, "peft", "tensorboard.compat.proto.event_pb2"])
METHODS = {
    "livo": (["--method", "livo", "--leak-penalty", "5"], "value_encoder/model.safetensors"),
    "mapo-full": (["--method", "mapo", "--ema", "0.9"], "unet/diffusion_pytorch_model.safetensors"),
    "mapo-lora": (["--method", "mapo", "--lora-rank", "2"], "pytorch_lora_weights.safetensors"),
}


def arguments(model: Path, dataset: Path, out: Path, *more: str) -> list[str]:
    line = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--steps", "40", "--batch", "4"]
    return [*line, "--lr", "1e-3", "--precision", "fp32", "--device", "cpu", "--checkpoint-every", "4", *more]


def checkpoints(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").glob("step-*"))


def started(line: list[str]) -> Any:
    child = CHILDREN.Process(target=main, args=(line,))
    child.start()
    return child


def until_progress(child: Any, out: Path) -> None:
    """Wait for a checkpoint that is not there now."""
    before = checkpoints(out)
    while child.is_alive() and checkpoints(out)[-1:] == before[-1:]:
        time.sleep(0.002)


def lines(out: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "pairs_per_second"} for line in read]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", METHODS)
def test_killed_runs_end_with_the_weights_of_one_that_was_not(
    name: str, sd15_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    flags, weights = METHODS[name]
    rng = random.Random(name)
    whole = started(arguments(sd15_folder, dataset, tmp_path / "whole", *flags))
    whole.join()
    line = arguments(sd15_folder, dataset, tmp_path / "killed", *flags)
    for _ in range(5):
        child = started(line)
        until_progress(child, tmp_path / "killed")
        time.sleep(rng.uniform(0, 0.1))  # a few steps, or the next checkpoint's writing
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "training.json").exists()
    last = started(line)
    last.join()
    states = [load_file(tmp_path / out / weights) for out in ("whole", "killed")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert lines(tmp_path / "whole") == lines(tmp_path / "killed")
    assert checkpoints(tmp_path / "killed") == ["step-00000040"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits(number: signal.Signals, sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    line = arguments(sd15_folder, dataset, tmp_path / "out", "--method", "sft", "--steps", "4000")
    child = started(line)
    until_progress(child, tmp_path / "out")
    os.kill(child.pid, number)
    child.join()
    assert child.exitcode == 128 + number
    held = checkpoints(tmp_path / "out")
    state = json.loads((tmp_path / "out" / "checkpoints" / held[-1] / "state.json").read_text())
    assert state["step"] == int(held[-1].removeprefix("step-"))
    assert len(held) == 2  # the last two are kept, whatever made them


@pytest.fixture
def interrupted(
    sd15_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[list[str], Path]]:
    """A run of mapo that was stopped in its tenth step by a full disk, with checkpoints after steps 4 and 8."""
    from training.loop.update import Update

    line = arguments(sd15_folder, dataset, tmp_path / "out", "--method", "mapo", "--steps", "12")
    step = Update.__call__

    def fails(self: Update, number: int) -> Any:
        if number == 9:
            raise OSError(28, "No space left on device", "x")
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Update, "__call__", fails)
        assert main(line) == 2
    yield line, tmp_path / "out"


def test_an_interrupted_run_goes_on_but_for_other_settings(
    interrupted: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    line, out = interrupted
    assert checkpoints(out) == ["step-00000004", "step-00000008"]
    assert main([*line, "--lr", "2e-3"]) == 2
    error = capsys.readouterr().err
    assert "holds another run (it differs in lr): choose another --out" in error and error.count("\n") == 1
    assert checkpoints(out) == ["step-00000004", "step-00000008"]
    # What changes no weights may change: how often to save, how many pairs at a time.
    assert main([*line, "--checkpoint-every", "100", "--micro-batch", "2"]) == 0
    assert [entry["step"] for entry in lines(out)] == [10, 12]


def test_a_damaged_checkpoint_is_named(
    interrupted: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    line, out = interrupted
    weights = out / "checkpoints" / "step-00000008" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert main(line) == 2
    error = capsys.readouterr().err
    assert "step-00000008 is damaged" in error and "remove it to go on from the one before" in error
    assert error.count("\n") == 1


def test_what_a_kill_left_half_written_is_cleared_away(interrupted: tuple[list[str], Path]) -> None:
    line, out = interrupted
    torn = out / "checkpoints" / ".step-00000012"
    torn.mkdir()
    (torn / "weights.safetensors").write_bytes(b"half")
    with open(out / "metrics.jsonl", "a") as log:
        log.write('{"step": 10, "lo')
    assert main(line) == 0
    assert [entry["step"] for entry in lines(out)] == [10, 12]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["run.json", "step-00000012"]
