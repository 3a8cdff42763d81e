"""More steps on a finished run: it goes on from where it ended, and ends as one that had them from the start."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from training.run import main

CHILDREN = multiprocessing.get_context("forkserver")
METHODS = {
    "livo": (["--method", "livo", "--leak-penalty", "5"], "value_encoder/model.safetensors"),
    "mapo-lora": (
        ["--method", "mapo", "--lora-rank", "2", "--uncond-share", "0.2"],
        "pytorch_lora_weights.safetensors",
    ),
    "dpo-ema": (["--method", "dpo", "--ema", "0.9"], "unet/diffusion_pytorch_model.safetensors"),
}
SFT, UNET = ["--method", "sft"], "unet/diffusion_pytorch_model.safetensors"


def arguments(model: Path, dataset: Path, out: Path, steps: int, *more: str) -> list[str]:
    line = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--steps", str(steps), "--batch", "4"]
    return [*line, "--lr", "1e-3", "--precision", "fp32", "--device", "cpu", "--checkpoint-every", "4", *more]


def names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def lines(out: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "pairs_per_second"} for line in read]


def same(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "name", ["livo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mapo-lora", "dpo-ema"))]
)
def test_a_finished_run_goes_on_to_the_weights_of_a_longer_one(
    name: str, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, weights = METHODS[name]
    assert main(arguments(sd15_folder, dataset, tmp_path / "whole", 20, *flags)) == 0
    out = tmp_path / "out"
    for steps in (10, 14, 20):
        capsys.readouterr()
        assert main(arguments(sd15_folder, dataset, out, steps, *flags)) == 0
        assert names(out) == ["run.json", f"step-{steps:08d}"]
        assert json.loads((out / "training.json").read_text())["optimizer"]["steps"] == steps
        said = capsys.readouterr().out
        assert ("goes on after step" in said) == (steps > 10) and "learning rate goes" not in said
    assert "goes on after step 14 of 14, up to step 20" in said
    assert same(out / weights, tmp_path / "whole" / weights)
    for held in (path.name for path in (out / "checkpoints" / "step-00000020").glob("*.safetensors")):
        assert same(*(folder / "checkpoints" / "step-00000020" / held for folder in (out, tmp_path / "whole")))
    # A line is due at the end of each of the three, and every ten steps.
    assert [line["step"] for line in lines(out)] == [10, 14, 20]
    assert lines(out)[0] == lines(tmp_path / "whole")[0]
    assert json.loads((out / "training.json").read_text())["went_on_from"] == [10, 14]
    assert main(arguments(sd15_folder, dataset, out, 20, *flags)) == 0
    assert "already holds this run; nothing to do" in capsys.readouterr().out


@pytest.mark.slow  # four runs
def test_the_curves_go_on_as_those_of_a_longer_run(
    sd15_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(arguments(sd15_folder, dataset, tmp_path / "whole", 30, *SFT)) == 0
    for steps in (10, 20, 30):
        if steps == 30:  # the latents are encoded anew
            monkeypatch.setenv("DATAGEN_TRAINING_CACHE", str(tmp_path / "cache"))
        assert main(arguments(sd15_folder, dataset, tmp_path / "out", steps, *SFT)) == 0
    assert lines(tmp_path / "out") == lines(tmp_path / "whole")


@pytest.fixture
def finished(sd15_folder: Path, dataset: Path, tmp_path: Path) -> Path:
    """A run of six steps."""
    assert main(arguments(sd15_folder, dataset, tmp_path / "out", 6, *SFT)) == 0
    return tmp_path / "out"


def refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command is refused with."""
    capsys.readouterr()
    assert main(line) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize("steps", [1, 5])
def test_fewer_steps_than_done_are_refused(
    steps: int, finished: Path, sd15_folder: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(arguments(sd15_folder, dataset, finished, steps, *SFT), capsys)
    assert f"holds this run with 6 steps done, --steps {steps} are fewer" in said
    assert (finished / "training.json").is_file() and names(finished) == ["run.json", "step-00000006"]


@pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/step-00000006", "checkpoints/run.json"])
def test_without_its_last_checkpoint_a_run_is_not_begun_anew(
    gone: str, finished: Path, sd15_folder: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = finished / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    stamp = (finished / UNET).stat().st_mtime_ns
    said = refused(arguments(sd15_folder, dataset, finished, 9, *SFT), capsys)
    assert "but not the checkpoint that it would go on from" in said
    assert (finished / "training.json").is_file() and (finished / UNET).stat().st_mtime_ns == stamp
    assert main(arguments(sd15_folder, dataset, finished, 6, *SFT)) == 0  # it is still finished


@pytest.mark.parametrize("hurt", ["weights.safetensors", "state.json"])
def test_a_damaged_last_checkpoint_leaves_the_result(
    hurt: str, finished: Path, sd15_folder: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = finished / "checkpoints" / "step-00000006" / hurt
    path.write_bytes(path.read_bytes()[:-1] if hurt != "state.json" else b"[1, 2]")
    said = refused(arguments(sd15_folder, dataset, finished, 9, *SFT), capsys)
    assert "step-00000006 is damaged" in said and "there is none before it" in said
    assert (finished / "training.json").is_file()


@pytest.mark.parametrize("more", [["--lr", "2e-3"], ["--seed", "1"], ["--method", "mapo"]])
def test_other_settings_are_another_run_with_more_steps_too(
    more: list[str], finished: Path, sd15_folder: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(arguments(sd15_folder, dataset, finished, 9, *SFT, *more), capsys)
    assert "holds another run (it differs in" in said and "steps" not in said


def test_a_cosine_that_ends_elsewhere_is_said(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*SFT, "--schedule", "cosine", "--warmup", "0"]
    assert main(arguments(sd15_folder, dataset, tmp_path / "out", 4, *line)) == 0
    assert "learning rate goes" not in capsys.readouterr().out
    assert main(arguments(sd15_folder, dataset, tmp_path / "out", 8, *line)) == 0
    # (1 + cos(π · 3 / 4)) / 2 of 1e-3 was the last; (1 + cos(π · 4 / 8)) / 2 is the next.
    said = capsys.readouterr().out
    assert "the learning rate goes from 0.000146447 to 0.0005 there, on the cosine of 8 steps" in said


def test_a_run_that_goes_on_and_is_stopped_is_the_longer_one(
    finished: Path, sd15_folder: Path, dataset: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from training.loop.update import Update

    step = Update.__call__

    def fails(self: Update, number: int) -> Any:
        if number == 9:
            raise OSError(28, "No space left on device", "x")
        return step(self, number)

    line = arguments(sd15_folder, dataset, finished, 12, *SFT)
    with monkeypatch.context() as patch:
        patch.setattr(Update, "__call__", fails)
        assert main(line) == 2
    assert names(finished) == ["run.json", "step-00000006", "step-00000008"]
    assert not (finished / "training.json").exists()
    # Eight steps are done: six are fewer; and what remains of them is enough to know the run.
    assert "with 8 steps done, --steps 6 are fewer" in refused(
        arguments(sd15_folder, dataset, finished, 6, *SFT), capsys
    )
    shutil.copytree(finished, tmp_path / "bare")
    for path in (tmp_path / "bare" / "checkpoints").glob("step-*"):
        shutil.rmtree(path)
    assert "but not the checkpoint that it would go on from" in refused(
        arguments(sd15_folder, dataset, tmp_path / "bare", 12, *SFT), capsys
    )
    assert main(line) == 0
    assert main(arguments(sd15_folder, dataset, tmp_path / "whole", 12, *SFT)) == 0
    assert same(finished / UNET, tmp_path / "whole" / UNET)
    assert names(finished) == ["run.json", "step-00000012"]


@pytest.mark.slow  # four runs
def test_an_interrupted_run_may_end_later_or_sooner(
    sd15_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.loop import standing

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(standing, "_finish", lambda *given: (_ for _ in ()).throw(OSError(28, "No space left", "x")))
        assert main(arguments(sd15_folder, dataset, out, 5, *SFT)) == 2
        assert main(arguments(sd15_folder, dataset, out, 9, *SFT)) == 2
    assert not (out / "training.json").exists()
    assert main(arguments(sd15_folder, dataset, out, 11, *SFT)) == 0
    assert main(arguments(sd15_folder, dataset, tmp_path / "whole", 11, *SFT)) == 0
    assert same(out / UNET, tmp_path / "whole" / UNET)


def test_where_the_last_checkpoint_had_no_room_an_earlier_one_is_gone_on_from(
    sd15_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from training.errors import TrainingError
    from training.loop.checkpoint import Checkpoints

    save = Checkpoints.save

    def full(self: Checkpoints, step: int, *given: Any) -> None:
        if step == 6:
            raise TrainingError("no room")
        save(self, step, *given)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        assert main(arguments(sd15_folder, dataset, out, 6, *SFT)) == 0
    assert "more steps after these 6 would go on from step 4" in capsys.readouterr().out
    assert names(out) == ["run.json", "step-00000004"]
    assert main(arguments(sd15_folder, dataset, out, 9, *SFT)) == 0
    assert main(arguments(sd15_folder, dataset, tmp_path / "whole", 9, *SFT)) == 0
    assert same(out / UNET, tmp_path / "whole" / UNET)


@pytest.mark.slow  # six processes
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["livo", "mapo-lora"])
def test_a_run_that_goes_on_and_is_killed_ends_with_the_same_weights(
    name: str, sd15_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    flags, weights = METHODS[name]
    out = tmp_path / "out"
    assert main(arguments(sd15_folder, dataset, tmp_path / "whole", 40, *flags)) == 0
    assert main(arguments(sd15_folder, dataset, out, 10, *flags)) == 0
    line = arguments(sd15_folder, dataset, out, 40, *flags)
    for least in (10, 16, 24):
        child = CHILDREN.Process(target=main, args=(line,))
        child.start()
        while child.is_alive() and not [n for n in names(out) if n[:5] == "step-" and int(n[5:]) > least]:
            time.sleep(0.002)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert not (out / "training.json").exists()
    assert main(line) == 0
    assert same(out / weights, tmp_path / "whole" / weights)
    assert lines(out) == lines(tmp_path / "whole")
