"""Metrics: averages over steps and parts, errors by timestep, the warning, and what a resumed run writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from training.errors import TrainingError
from training.loop.distributed import Team
from training.loop.objective import Scored
from training.loop.tracking import LOG_EVERY, WATCHED, Tracker

ALONE = Team(torch.device("cpu"))
NORM = torch.tensor(2.0)


def scored(chosen: list[float], timesteps: list[int], counted: list[bool] | None = None, **more: float) -> Scored:
    error = torch.tensor(chosen)
    measured = {
        "loss": 2 * error,
        "chosen_error": error,
        "rejected_error": error + 1,
        "margin": torch.ones_like(error),
    }
    measured |= {name: torch.full_like(error, value) for name, value in more.items()}
    kept = torch.tensor(counted or [True] * len(chosen))
    return Scored(error, measured, kept, torch.tensor(timesteps))


def tracker(folder: Path, after: int = 0, state: Any = None) -> Tracker:
    return Tracker(folder, ALONE, timesteps=1000, after=after, state=state)


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_line_averages_over_steps_and_parts_and_leaves_out_what_does_not_count(tmp_path: Path) -> None:
    with tracker(tmp_path) as kept:
        kept.add([scored([1.0], [0]), scored([3.0, 50.0], [999, 500], [True, False])], NORM)
        kept.add([scored([5.0], [100])], 2 * NORM)
        line = kept.line(2, lr=0.1)
    assert written(tmp_path) == [line]
    assert (line["chosen_error"], line["loss"], line["gradient_norm"], line["lr"]) == (3.0, 6.0, 3.0, 0.1)
    assert line["by_timestep"]["chosen_error"] == [3.0, None, None, None, 3.0]
    assert line["by_timestep"]["rejected_error"] == [4.0, None, None, None, 4.0]
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_resumed_run_writes_the_lines_of_one_that_was_not(tmp_path: Path) -> None:
    def steps(kept: Tracker, first: int, last: int) -> None:
        for step in range(first, last):
            kept.add([scored([step / 7], [step * 10])], NORM)
            if (step + 1) % LOG_EVERY == 0:
                kept.line(step + 1)

    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    with tracker(tmp_path / "whole") as kept:
        steps(kept, 0, 30)
    with tracker(tmp_path / "cut") as kept:
        steps(kept, 0, 14)
        state = json.loads(json.dumps(kept.state()))
        steps(kept, 14, 24)  # lost: the checkpoint is older
    with tracker(tmp_path / "cut", after=14, state=state) as kept:
        steps(kept, 14, 30)
    assert written(tmp_path / "cut") == written(tmp_path / "whole")


@pytest.mark.parametrize("reference", [True, False])
def test_the_run_warns_once_when_the_chosen_error_rises(
    reference: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"ref_chosen_error": 1.0} if reference else {}
    with tracker(tmp_path) as kept:
        for i in range(3 * WATCHED):
            # With and without much noise the error differs tenfold; what is compared must not hang on the mixture.
            times = [0, 999] if reference or i < WATCHED else [0, 0]
            risen = 1.0 if i < WATCHED else 1.5
            kept.add([scored([risen if reference or t else 10 * risen for t in times], times, **more)], NORM)
            rise = kept.line(i + 1)["chosen_rise"]
            assert (rise is None) == (i < WATCHED - 1)
    assert rise == pytest.approx(0.5)
    said = capsys.readouterr().out
    assert said.count("warning") == 1 and "unlearns them" in said


def test_a_steady_error_is_no_warning_and_nan_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tracker(tmp_path) as kept:
        for i in range(3 * WATCHED):
            kept.add([scored([1.0, 1.05], [0, 999])], NORM)
            kept.line(i + 1)
        assert "warning" not in capsys.readouterr().out
        kept.add([scored([float("nan")], [0])], NORM)
        with pytest.raises(TrainingError, match="the loss became nan before step 99: lower --lr"):
            kept.line(99)
