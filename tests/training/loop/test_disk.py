"""A disk that is full at any write ends a run in one line; once there is room the same command ends it well."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from training.errors import TrainingError
from training.loop import checkpoint, disk
from training.loop.distributed import Team
from training.run import main

ALONE = Team(torch.device("cpu"))
UNET = "unet/diffusion_pytorch_model.safetensors"
STEPS = 4


def arguments(model: Path, dataset: Path, out: Path, *more: str) -> list[str]:
    line = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--steps", str(STEPS), "--batch", "4"]
    return [*line, "--lr", "1e-3", "--precision", "fp32", "--method", "sft", *more]


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file grows beyond so many bytes: writing more fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def states(first: Path, second: Path) -> list[dict[str, torch.Tensor]]:
    return [load_file(folder / UNET) for folder in (first, second)]


def test_the_result_that_does_not_fit_costs_no_step(
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(trainable: Any, folder: Path) -> None:
        (folder / "unet").mkdir()
        raise OSError(28, "No space left on device", str(folder))

    line = arguments(sd15_folder, dataset, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("training.trainables.unet.UNetTrainable.save", full)
        assert main(line) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        f"cannot be written (No space left on device): once it can, the same command goes on from step {STEPS}"
        in error
    )
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["checkpoints", "metrics.jsonl", "tensorboard"]
    monkeypatch.setattr("training.loop.update.Update.__call__", None)  # no step is done again
    assert main(line) == 0
    monkeypatch.undo()
    assert main(arguments(sd15_folder, dataset, tmp_path / "whole")) == 0
    first, second = states(tmp_path / "out", tmp_path / "whole")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_result_is_written_where_the_last_checkpoint_has_no_room(
    sd15_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    assert main(arguments(sd15_folder, dataset, tmp_path / "out")) == 0
    assert (tmp_path / "out" / UNET).is_file() and not (tmp_path / "out" / "checkpoints").exists()


@pytest.fixture(scope="module")
def cached(sd15_folder: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The cache of latents is full already: it lies on another disk."""
    main(arguments(sd15_folder, dataset, tmp_path_factory.mktemp("cached") / "out", "--steps", "1"))


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    ("size", "more"),
    [
        (0, "--checkpoint-every"),
        (5_000, "--checkpoint-every"),
        (200_000, "--checkpoint-every"),
        (5_000, "--grid-every"),
    ],
)
def test_every_write_that_fails_is_one_line(
    size: int, more: str, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = arguments(sd15_folder, dataset, tmp_path / "out", more, "2")
    with largest_file(size):
        assert main(line) == 2
    errors = [said for said in capsys.readouterr().err.splitlines() if said.startswith("error: ")]
    assert len(errors) == 1 and "cannot be written (File too large)" in errors[0]
    assert not (tmp_path / "out" / ".lock").exists()
    assert main(line) == 0


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(30, "Read-only file system")])
def test_what_is_kept_is_said(error: OSError, tmp_path: Path) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(TrainingError, match=f"{error.strerror}.*goes on from the start"):
        disk.by_main_process(ALONE, tmp_path, fail)
    for step in (5, 10):
        (tmp_path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    with pytest.raises(TrainingError, match=f"{error.strerror}.*goes on from step 10"):
        disk.by_main_process(ALONE, tmp_path, fail)


def test_another_process_fails_with_the_main_one(tmp_path: Path) -> None:
    class Second(Team):
        def any(self, mine: bool) -> bool:
            return True

    with pytest.raises(TrainingError, match="cannot be written by the main process"):
        disk.by_main_process(Second(torch.device("cpu"), 1, 2), tmp_path, lambda: None)


def tmpfs(folder: Path, size: str) -> bool:
    """Whether a disk of that size could be put at the folder."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return os.geteuid() == 0 and not subprocess.run(command, capture_output=True, check=False).returncode


@pytest.mark.slow  # four runs
def test_a_disk_that_fills_up_for_real(
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if not tmpfs(small, "8k"):
        pytest.skip("only root may mount a small disk")
    request.addfinalizer(lambda: subprocess.run(["umount", "--lazy", str(small)], check=False))
    grown: Callable[[str], Any] = lambda size: subprocess.run(  # noqa: E731
        ["mount", "-o", f"remount,size={size}", str(small)], check=True
    )
    line = arguments(sd15_folder, dataset, small / "out", "--checkpoint-every", "2")
    for size in ("8k", "64k", "300k", "1m"):
        grown(size)
        assert main(line) == 2
        errors = [said for said in capsys.readouterr().err.splitlines() if said.startswith("error: ")]
        assert len(errors) == 1 and "No space left on device" in errors[0]
    grown("16m")
    assert main(line) == 0
    assert json.loads((small / "out" / "training.json").read_text())["optimizer"]["steps"] == STEPS
