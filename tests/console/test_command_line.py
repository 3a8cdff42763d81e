"""An option that takes one value is given once, in every program; one that takes a list, as often as one likes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from datagen import cli
from training.errors import TrainingError
from training.settings import evaluation, export, sampling, training

RUN = ["run", "pick-style", "--out", "never"]


def datagen(monkeypatch: pytest.MonkeyPatch, *line: str) -> int:
    monkeypatch.setattr(sys, "argv", ["datagen", *line])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ([*RUN, "--limit", "3", "--limit", "5"], "--limit"),
        ([*RUN, "--limit", "3", "--limit=3"], "--limit"),
        ([*RUN, "--out", "elsewhere"], "--out"),
        ([*RUN, "--batch", "--batch"], "--batch"),
        (["--version", "--version"], "--version"),
        (["estimate", "pick-style", "--profile", "sd15", "--profile", "sdxl"], "--profile"),
        (["write", "pick-style", "--max-cost", "1", "--dry-run", "--max-cost", "2"], "--max-cost"),
        (["judge", "x", "--judges", "clip", "--out", "a", "--out", "b"], "--out"),
        (["export", "x", "--out", "a", "--format", "huggingface", "--format", "livo"], "--format"),
    ],
)
def test_a_second_value_is_refused(
    line: list[str], option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert datagen(monkeypatch, *line) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: Invalid value for '{option}': it is given more than once")


@pytest.mark.parametrize("second", ["prompts.count=5", "prompts.count = 5", "prompts.count=3"])
def test_a_second_value_of_a_key_is_refused(
    second: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["--set", "prompts.count=3", "--set", "seed=5", "--set", second]
    assert datagen(monkeypatch, "estimate", "pick-style", *sets) == 2
    assert "'--set': prompts.count is given more than once" in capsys.readouterr().err


def test_lists_and_help_may_be_given_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert datagen(monkeypatch, "run", "--help", "-h", "--help") == 0
    sets = ["--set", "prompts.count=3", "--set", "seed=5", "--profile", "embedded"]
    assert datagen(monkeypatch, "estimate", "pick-style", *sets) == 0
    judges = ["--judges", "clip", "--judges", "none-such", "--out", "never.parquet"]
    assert datagen(monkeypatch, "judge", "nowhere", *judges) == 2
    assert "more than once" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "line", "option"),
    [
        (training, ["--data", "a", "--data", "b"], "--data"),
        (training, ["--lr", "1", "--method", "dpo", "--lr=1"], "--lr"),
        (training, ["--hard-labels", "--no-hard-labels"], "--hard-labels"),
        (training, ["--keep", "1", "--leak-penalty", "2"], "--leak-penalty"),
        (training, ["--config", "a.toml", "--config", "b.toml"], "--config"),
        (evaluation, ["--out", "a", "--seeds", "1", "2", "--out", "b"], "--out"),
        (sampling, ["--steps", "3", "--steps", "4"], "--steps"),
        (export, ["--push", "--push"], "--push"),
    ],
)
def test_the_trainer_refuses_it_in_the_same_words(program: object, line: list[str], option: str) -> None:
    with pytest.raises(TrainingError, match=f"'{option}.*': it is given more than once, and takes one value"):
        program.parse(line)  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", ["lr=1", "optimizer.lr=1", " optimizer.lr =1"])
def test_a_key_of_the_trainer_is_one_by_both_its_names(first: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"optimizer\.lr.* is given more than once"):
        training.parse(["--set", first, "--set", "limit=3", "--set", "optimizer.lr=2"])
    file = tmp_path / "own.toml"
    file.write_text("lr = 1\n[optimizer]\nlr = 2\n")
    with pytest.raises(TrainingError, match=r"own\.toml: optimizer\.lr is given more than once"):
        training.parse(["--config", str(file)])


def test_lists_of_the_trainer_may_be_given_again() -> None:
    line = ["--data", "d", "--out", "o", "--method", "dpo", "--grid-every", "5", "--set", "run.limit=1"]
    given = ["--grid-prompts", "a", "--set", "optimizer.lr=1", "--grid-prompts", "b", "c"]
    settings = training.parse([*line, *given])
    assert settings.job.grid_prompts == ("a", "b", "c") and settings.run.limit == 1
