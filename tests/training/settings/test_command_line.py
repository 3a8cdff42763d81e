"""The command lines: one way of giving options for all programs, nothing guessed, no torch before it is due."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training import evaluate, run, sample
from training.errors import TrainingError
from training.settings import evaluation, sampling
from training.settings.training import PROGRAM, parse

ROOT = Path(__file__).parents[3]
NEEDED = ["--data", "x", "--out", "y", "--method", "dpo"]
PROGRAMS = {"run": run, "evaluate": evaluate, "sample": sample}


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_lists_every_option_with_what_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = {"run": PROGRAM, "evaluate": evaluation.PROGRAM, "sample": sampling.PROGRAM}[name]
    with pytest.raises(SystemExit) as stopped:
        PROGRAMS[name].main(["--help"])
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for option in program.options:
        assert f"{option.flag} " in shown and option.help and " ".join(option.help.split())[:20] in shown


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--stepz", "5"], "--stepz is an unknown option; did you mean '--steps'?"),
        (["--conf", "x"], "--conf is an unknown option"),
        (["--outt=y"], "--outt is an unknown option; did you mean '--out'?"),
        (["--step=5"], "--step is an unknown option; did you mean '--steps'?"),
        (["--steps"], "'--steps' requires an argument"),
        (["stray"], "unexpected extra argument"),
        (["--set", "stepz=5"], "--set stepz is an unknown setting; did you mean 'steps'?"),
        (["--set", "steps"], "--set 'steps': give group.key=value"),
    ],
)
def test_a_mistyped_line_is_one_line_and_exit_code_2(
    name: str, line: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PROGRAMS[name].main(line) == 2
    error = capsys.readouterr().err
    assert says in error and error.startswith("error: ") and error.count("\n") == 1


def test_no_prefix_of_a_flag_is_taken_for_it() -> None:
    flags = {option.flag for option in PROGRAM.options} | {"--config", "--set", "--help"}
    for prefix in {flag[:length] for flag in flags for length in (5, len(flag) - 1)} - flags:
        with pytest.raises(TrainingError, match="unknown option"):
            parse([*NEEDED, prefix, "1"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_neither_help_nor_a_typo_waits_for_torch_or_pydantic(name: str) -> None:
    code = (
        f"import sys\nfrom training import {name} as program\n"
        "try:\n    program.main(['--help'])\nexcept SystemExit as stopped:\n    assert stopped.code == 0\n"
        "assert program.main(['--stepz']) == 2\n"
        "assert program.main(['--stepz=1', '--data', 'x']) == 2\n"
        "slow = {'torch', 'diffusers', 'transformers', 'open_clip', 'pyarrow', 'pandas', 'pydantic', 'rich'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_flags_win_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[optimizer]\nlr = 1e-4\nwarmup = 1\nsteps = 11\n[job]\ncheckpointing = true\n")
    line = [*NEEDED, "--config", str(path), "--set", "optimizer.lr=2e-4", "--set", "warmup=2", "--lr", "3e-4"]
    taken = parse(line).optimizer
    assert (taken.lr, taken.warmup, taken.steps) == (3e-4, 2, 11)
    assert parse(line).job.checkpointing and not parse([*line, "--no-checkpointing"]).job.checkpointing


def test_a_file_may_leave_out_the_groups(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('data = "x"\nout = "y"\nmethod = "dpo"\nlr = 2e-4\ncheckpointing = true\nhard_labels = false\n')
    settings = parse(["--config", str(path)])
    assert (settings.run.method, settings.optimizer.lr, settings.job.checkpointing) == ("dpo", 2e-4, True)
    assert settings.run.hard_labels is False
    assert settings.optimizer.steps == parse(NEEDED).optimizer.steps  # what it leaves open has its default


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning_rate = 1e-5", "learning_rate is an unknown setting; known: "),
        ("stepz = 5", "stepz is an unknown setting; did you mean 'steps'?"),
        ("[optimizer]\nlrr = 5", "optimizer.lrr is an unknown setting; did you mean 'optimizer.lr'?"),
        ("[run]\nlr = 5", "run.lr is an unknown setting; known: optimizer.lr"),
        ("[optimiser]\nema = 0.5", "optimiser.ema is an unknown setting; did you mean 'optimizer.ema'?"),
        ("steps = 'many'", "own.toml: steps is 'many': it should be a valid integer"),
        ("steps = [5]", "own.toml: steps is [5]: it should be a valid integer"),
        ("[optimizer]\nsteps = true", "own.toml: optimizer.steps: true is not a number"),
        ("[loss]\nbeta = -1", "own.toml: loss.beta is -1: it should be greater than 0"),
        ("[loss]\ngamma1 = 1", "own.toml: loss.gamma1 is an option of livo; dpo has --beta, --smoothing"),
        ("steps = ", "is not TOML"),
        ("method = 'sppo'", "own.toml: method: no loss is called 'sppo'; did you mean 'smpo'?"),
        ("out = 3", "own.toml: out is 3: it should be a valid string"),
    ],
)
def test_bad_files_are_one_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    given = [NEEDED[i : i + 2] for i in (0, 2, 4) if NEEDED[i][2:] not in text]
    with pytest.raises(TrainingError) as caught:
        parse(["--config", str(tmp_path / "own.toml"), *(word for pair in given for word in pair)])
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], "--data is missing"),
        (["--data", "x", "--method", "sft"], "--out is missing"),
        ([*NEEDED, "--schedule", "linear"], "--schedule is 'linear': it should be 'constant' or 'cosine'"),
        ([*NEEDED, "--ema", "1"], "--ema is '1': it should be less than 1"),
        ([*NEEDED, "--set", "ema=[1]"], "--set ema is [1]: it should be a valid number"),
    ],
)
def test_what_is_missing_or_out_of_bounds_is_one_line(line: list[str], says: str) -> None:
    with pytest.raises(TrainingError) as caught:
        parse(line)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(TrainingError, match="no config 'livo-sd3': give a .toml file, or one of dpo-sdxl, livo-sd15"):
        parse(["--config", "livo-sd3", *NEEDED])


def test_names_of_the_version_before_work_and_say_what_they_are_called_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", "x", "--out", "y", "--method", "livo"]
    now = parse([*line, "--leak-penalty", "7", "--max-principles", "2"])
    assert capsys.readouterr().err == ""
    assert parse([*line, "--keep", "7", "--at-once=2"]) == now
    said = capsys.readouterr().err
    assert "note: --keep is now called --leak-penalty" in said and "--at-once is now called --max-principles" in said
    (tmp_path / "own.toml").write_text("keep = 7\n[value_encoder]\nat_once = 2\n")
    assert parse([*line, "--config", str(tmp_path / "own.toml")]) == now
    assert "note: keep is now called leak_penalty" in capsys.readouterr().err
    assert parse([*NEEDED, "--anchor", "0.1"]) == parse([*NEEDED, "--uncond-share", "0.1"])


def test_a_list_takes_all_that_follows_or_none_or_one_at_a_time() -> None:
    line = ["--out", "y", "--prompts", "p"]
    drawn = evaluation.parse([*line, "--seeds", "3", "4", "3", "--principle", "no smoke", "--rates"])
    assert drawn.drawn.each_seed == (3, 4) and drawn.drawn.principle == ("no smoke",) and drawn.probes.rates == ()
    assert evaluation.parse(line).drawn.each_seed == (0,)
    assert evaluation.parse([*line, "--seeds", "3", "--seeds", "4"]).drawn.seeds == (3, 4)
    assert evaluation.parse([*line, "--set", "probes.groups=['a', 'b']"]).probes.groups == ("a", "b")
    assert evaluation.parse([*line, "--use-probability", "auto"]).drawn.use_probability is None
    with pytest.raises(TrainingError, match="--seeds is 'x': it should be a valid integer"):
        evaluation.parse([*line, "--seeds", "1", "x"])
    with pytest.raises(TrainingError, match="--groups is .*: it should have at least 1 item"):
        evaluation.parse([*line, "--groups"])
