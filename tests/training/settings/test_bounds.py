"""Numbers that a library would refuse, or that train nothing, are refused where they are given, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.errors import TrainingError
from training.losses import LOSSES
from training.run import main
from training.settings import evaluation, sampling, training

TRAIN = ["--data", "x", "--out", "y", "--method", "dpo"]
PROGRAMS: dict[str, tuple[Callable[[list[str]], Any], list[str]]] = {
    "run": (training.parse, TRAIN),
    "evaluate": (evaluation.parse, ["--out", "y"]),
    "sample": (sampling.parse, ["--adapter", "a", "--prompts", "p", "--out", "y"]),
}
BAD = {
    "--seed": ("-1", str(2**63), str(10**30), "1.5", "x", "nan"),
    "--seeds": ("-1", str(10**30)),
    "--steps": ("0", "-1", str(10**12), "inf"),
    "--batch": ("0", "-4", str(10**12)),
    "--lr": ("0", "-1e-5", "nan", "inf", "-inf", "1e-5x", ""),
    "--weight-decay": ("-1", "nan", "inf"),
    "--warmup": ("-1", str(10**12)),
    "--ema": ("1", "-0.1", "nan"),
    "--limit": ("-1", str(10**12)),
    "--resolution": ("-64", str(10**6), "64.5"),
    "--lora-rank": ("-1", str(10**6)),
    "--uncond-share": ("1", "-0.1", "nan"),
    "--micro-batch": ("-1",),
    "--checkpoint-every": ("0", "-1"),
    "--keep-checkpoints": ("0",),
    "--grid-every": ("-1",),
    "--beta": ("0", "-1", "nan", "inf"),
    "--smoothing": ("0.5", "-0.1", "nan"),
    "--guidance": ("-1", "nan", "inf"),
    "--images": ("0", "-1"),
    "--use-probability": ("1.1", "-0.1", "nan", "x"),
    "--at-most": ("0",),
    "--threshold": ("-1", "nan"),
    "--out": ("",),
    "--data": ("",),
    "--adapter": ("",),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("flag", BAD)
def test_a_number_out_of_its_bounds_is_one_line_that_names_it(name: str, flag: str) -> None:
    parse, line = PROGRAMS[name]
    program = {"run": training.PROGRAM, "evaluate": evaluation.PROGRAM, "sample": sampling.PROGRAM}[name]
    option = next((option for option in program.options if option.flag == flag), None)
    if option is None or (flag == "--adapter" and name == "evaluate"):  # there it is optional
        pytest.skip(f"{name} has no {flag}, or takes any")
    for value in BAD[flag]:
        with pytest.raises(TrainingError) as caught:
            parse([*line, f"{flag}={value}"])
        assert flag in str(caught.value) and "\n" not in str(caught.value), value


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_number_has_a_bound_that_a_library_bears(name: str) -> None:
    program = {"run": training.PROGRAM, "evaluate": evaluation.PROGRAM, "sample": sampling.PROGRAM}[name]
    parse, line = PROGRAMS[name]
    for option in program.options:
        if option.value == "N" and not option.is_list:
            with pytest.raises(TrainingError, match=option.flag):
                parse([*line, option.flag, str(10**30)])


def test_the_largest_seed_is_taken() -> None:
    assert training.parse([*TRAIN, "--seed", str(2**63 - 1)]).run.seed == 2**63 - 1
    assert evaluation.parse(["--out", "y", "--seeds", "0", str(2**39 - 1)]).drawn.seeds == (0, 2**39 - 1)


@pytest.mark.parametrize("method", [name for name, loss in LOSSES.items() if loss.needs_reference and name != "livo"])
def test_a_beta_that_teaches_nothing_is_refused(method: str) -> None:
    with pytest.raises(TrainingError, match="--beta is '0': it should be greater than 0"):
        training.parse(["--data", "x", "--out", "y", "--method", method, "--beta", "0"])


def test_a_home_folder_is_found_and_nobodys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    run = training.parse(["--data=~/pairs", "--model=~/sd15", "--out=~/out", "--method", "dpo"])
    assert (run.run.data, run.run.model, run.job.out) == ("/home/me/pairs", "/home/me/sd15", "/home/me/out")
    with pytest.raises(TrainingError, match="--data: '~no one/x' is in nobody's home folder"):
        training.parse(["--data=~no one/x", *TRAIN[2:]])


def test_a_number_of_thousands_of_digits_is_one_line(tmp_path: Path) -> None:
    for key in ("steps", "data"):
        (tmp_path / "own.toml").write_text(f"{key} = {'9' * 5000}")
        with pytest.raises(TrainingError, match="own.toml is not TOML"):
            training.parse(["--config", str(tmp_path / "own.toml"), *TRAIN])
    with pytest.raises(TrainingError, match="--set steps is '999"):
        training.parse([*TRAIN, "--set", f"steps={'9' * 5000}"])


def test_a_null_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('data = "a\\u0000b"\n')
    with pytest.raises(TrainingError, match="own.toml: data: it holds a null character"):
        training.parse(["--config", str(tmp_path / "own.toml"), *TRAIN[2:]])


@pytest.mark.parametrize(("side", "says"), [("68", "use 64 or 72"), ("7", "use 8 or 16"), ("65", "use 64 or 72")])
def test_a_resolution_that_latents_do_not_fill_is_refused(
    side: str, says: str, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", str(dataset), "--model", str(sd15_folder), "--out", str(tmp_path / "out"), "--method", "sft"]
    assert main([*line, "--resolution", side]) == 2
    error = capsys.readouterr().err
    assert f"--resolution {side} is no multiple of 8" in error and says in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [["--resolution", "8"], ["--resolution", "72", "--seed", str(2**63 - 1)]])
def test_what_is_within_the_bounds_trains(more: list[str], sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    line = ["--data", str(dataset), "--model", str(sd15_folder), "--out", str(tmp_path / "out"), "--method", "sft"]
    assert main([*line, "--steps", "1", "--batch", "2", *more]) == 0
