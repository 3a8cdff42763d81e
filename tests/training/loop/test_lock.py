"""Two jobs on one folder: the second ends at once and names the first; a lock goes with its process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.errors import TrainingError
from training.loop.distributed import Team
from training.loop.lock import hold
from training.run import main

ALONE = Team(torch.device("cpu"))


def test_who_holds_a_folder_is_named(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "out"
    with hold(out, ALONE):
        (out / "metrics.jsonl").write_text("")
        who = f"is in use by process {os.getpid()} on {socket.gethostname()} since 20"
        with pytest.raises(TrainingError, match=who), hold(out, ALONE):
            raise AssertionError
        assert (out / ".lock").exists()  # the holder's, whoever was turned away
    assert [path.name for path in out.iterdir()] == ["metrics.jsonl"]
    with hold(out, ALONE):
        pass


@pytest.mark.parametrize(
    "left", ["", "{", "[]", '{"pid": 1}', '{"pid": 999999999, "host": "gone", "started": "then"}']
)
def test_what_a_kill_left_holds_nobody_up(left: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(left)
    with hold(tmp_path, ALONE):
        pass


def test_a_folder_that_stays_empty_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model"), hold(tmp_path / "out", ALONE):
        raise ValueError("no model")
    assert not list(tmp_path.iterdir())


def test_a_lock_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="out cannot be written"), hold(tmp_path / "file" / "out", ALONE):
        raise AssertionError


def test_a_second_job_ends_at_once_and_the_first_goes_on(
    sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from training.loop.lock import hold\n"
        "from training.loop.distributed import Team\n"
        f"with hold(Path({str(tmp_path / 'out')!r}), Team(torch.device('cpu'))):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    line = ["--data", str(dataset), "--model", str(sd15_folder), "--out", str(tmp_path / "out"), "--method", "sft"]
    line += ["--steps", "1", "--batch", "2"]
    first = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    assert main(line) == 2
    error = capsys.readouterr().err
    assert f"is in use by process {first.pid}" in error and error.count("\n") == 1
    first.kill()
    first.wait()
    assert main(line) == 0
    assert not (tmp_path / "out" / ".lock").exists()


@pytest.mark.parametrize("name", ["training.json", "checkpoints/run.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\udcff"])
def test_a_damaged_run_is_refused_and_left_alone(
    name: str, text: str, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    line = ["--data", str(dataset), "--model", str(sd15_folder), "--out", str(tmp_path), "--method", "sft"]
    assert main(line) == 2
    assert "is damaged, so whose run it is cannot be told" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8", errors="surrogateescape") == text
