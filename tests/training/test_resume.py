"""Runs that are killed, stopped or disturbed: the same command goes on, and ends as one that was not."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

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


def without_one(tensors: dict[str, Any]) -> dict[str, Any]:
    return dict(list(tensors.items())[1:])


def of_another_shape(tensors: dict[str, Any]) -> dict[str, Any]:
    return tensors | {"00000": tensors["00000"].flatten()[:1]}


def with_a_flipped_bit(tensors: dict[str, Any]) -> dict[str, Any]:
    changed = tensors["00003"].clone()
    changed.view(torch.int32).flatten()[0] ^= 1
    return tensors | {"00003": changed}


def in_half(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: value.half() for name, value in tensors.items()}


def exchanged(tensors: dict[str, Any]) -> dict[str, Any]:
    first, second = (next(n for n in tensors if n > after and tensors[n].ndim == 1) for after in ("00000", "00010"))
    return tensors | {first: tensors[second], second: tensors[first]}


def with_one_more(tensors: dict[str, Any]) -> dict[str, Any]:
    return tensors | {"99999": torch.zeros(1)}


@pytest.mark.parametrize(
    "change", [without_one, of_another_shape, with_a_flipped_bit, in_half, exchanged, with_one_more]
)
def test_a_checkpoint_whose_tensors_are_not_as_written_is_not_gone_on_from(
    change: Callable[[dict[str, Any]], dict[str, Any]],
    interrupted: tuple[list[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line, out = interrupted
    last = out / "checkpoints" / "step-00000008"
    shutil.copytree(last, tmp_path / "sound")
    for name in ("exp_avg", "exp_avg_sq", "weights"):
        save_file(change(load_file(last / f"{name}.safetensors")), last / f"{name}.safetensors")
        assert main(line) == 2
        error = capsys.readouterr().err
        assert f"step-00000008 is damaged ({name}.safetensors is not as it was written): remove it to go on" in error
        assert error.count("\n") == 1 and not (out / "training.json").exists()
        shutil.copy(tmp_path / "sound" / f"{name}.safetensors", last)
    assert main(line) == 0  # it was this alone


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state | {"optimizer_step": 7},
        lambda state: state | {"optimizer_tensors": ["exp_avg"]},
        lambda state: {name: value for name, value in state.items() if name != "seal"},
        lambda state: state | {"files": {}},
        lambda state: [1, 2],
        lambda state: None,
        lambda state: state | {"tracker": {}},
    ],
)
def test_a_checkpoint_whose_numbers_are_not_as_written_is_not_gone_on_from(
    change: Callable[[Any], Any], interrupted: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    line, out = interrupted
    path = out / "checkpoints" / "step-00000008" / "state.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert main(line) == 2
    error = capsys.readouterr().err
    assert "step-00000008 is damaged (state.json is not as it was written): remove it" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["exp_avg.safetensors", "state.json"])
def test_a_checkpoint_without_one_of_its_files_is_named(
    name: str, interrupted: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    line, out = interrupted
    (out / "checkpoints" / "step-00000008" / name).unlink()
    assert main(line) == 2
    assert f"step-00000008 is damaged ({name} is missing): remove it" in capsys.readouterr().err
    shutil.rmtree(out / "checkpoints" / "step-00000008")
    assert main(line) == 0  # from the one before


def test_a_run_of_an_earlier_version_is_told_so(
    interrupted: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    line, out = interrupted
    path = out / "checkpoints" / "run.json"
    before = json.loads(path.read_text())
    del before["optimizer"]["optimizer"], before["run"]["frozen_precision"]
    path.write_text(json.dumps(before))
    assert main(line) == 2
    error = capsys.readouterr().err
    assert f"{out} holds a run of an earlier version of this program, which has no --frozen-precision, --" in error
    assert "use that version, or choose another --out" in error and error.count("\n") == 1


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
