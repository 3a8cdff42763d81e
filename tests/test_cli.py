"""The command line: one line an error with its exit code, and an answer without the heavy libraries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import ClassVar

import pytest
import typer

from datagen import __main__ as entry
from datagen import cli, store
from datagen import recipe as recipes
from datagen.errors import MachineryError
from datagen.pipeline import build, plan


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run the command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["datagen", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
        raise SystemExit(0)
    return int(stop.value.code or 0)


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from datagen.cli import app\n"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0, result.output\n"
        "names = 'run estimate status judge list doctor validate'.split()\n"
        "assert all(name in result.output for name in names)\n"
        "print([name for name in ('torch', 'diffusers', 'transformers', 'open_clip', 'datasets', 'pandas', 'pyarrow',"
        " 'numpy', 'pydantic') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_neither_help_nor_a_typo_loads_a_library_that_takes_long() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    lines = [[], ["--help"], *([name, "--help"] for name in commands)]
    assert len(lines) > 10
    lines += [["runn"], ["--hlep"], ["run", "pick-style", "--outt", "x"], ["judge", "--jduges", "clip"]]
    lines += [["run", "pick-style", "--out", "x", "--limit", "3", "--limit", "5"], ["list", "--wat", "x"]]
    code = (
        "import sys; from datagen import cli\n"
        "slow = {'rich', 'pydantic', 'torch', 'numpy', 'pandas', 'pyarrow', 'openai', 'jinja2', 'PIL'}\n"
        f"for line in {lines}:\n"
        "    sys.argv = ['datagen', *line]\n"
        "    try:\n        cli.main()\n"
        "    except SystemExit as stop:\n        assert stop.code in (0, 2), (line, stop)\n"
        "    assert not slow & set(sys.modules), (line, slow & set(sys.modules))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "pick-stile", "--out", "out"], "no recipe is called 'pick-stile'; did you mean 'pick-style'"),
        (
            ["run", "pick-style", "--out", "out", "--set", "prompts.cuont=3"],
            "unknown key 'prompts.cuont': did you mean",
        ),
        (["run", "pick-style", "--out", "out", "--set", "prompts.count=x"], "prompts.count is 'x'"),
        (["run", "pick-style", "--out", "/proc/nowhere"], "cannot write /proc/nowhere"),
        (["run", "pick-style", "--out", "out", "--set", "profiles.embedded.judges=['clap']"], "did you mean 'clip'"),
        (["run", "pick-style", "--out", "out", "--set", "profiles.embedded.model='.'"], "has no model_index.json"),
        (["run", "pick-style", "--out", "out", "--set", "profiles.embedded.adapters=['x']"], "there is no adapter x"),
        *[
            (
                ["run", "pick-style", "--out", "out", "--stage", "images", "--shard", given],
                f"{given!r} is no share: give",
            )
            for given in ("", "1", "/", "1/", "/4", "a/b", "-1/4", "0.5/4", "1/4/2", "²/4", "0/4000000")
        ],
        *[
            (
                ["run", "pick-style", "--out", "out", "--stage", "images", "--shard", given],
                f"--shard {given} is no share",
            )
            for given in ("4/4", "5/4", "0/0")
        ],
        (["run", "pick-style", "--out", "out", "--shard", "0/4"], "give --stage, too, e.g. --stage images"),
        (["run", "pick-style", "--out", "out", "--stage", "images"], "the prompts of out are not written yet"),
        (["run", "pick-style", "--out", "out", "--stage", "draw"], "no stage is called 'draw'; known: embeddings"),
        (["run", "pick-style", "--out", "out", "--stage", "labels"], "labels is done as a whole, by datagen run"),
        (["run", "pick-style", "--out", "out", "--stage", "images", "--batch"], "give it to datagen write"),
        (["status", "nowhere"], "nowhere is not a run directory"),
        (["validate", "nowhere"], "there is no nowhere"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    arguments: list[str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert line in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'? (datagen --help lists what it takes)"),
        (["run"], "Missing argument 'recipe'. (datagen run --help lists what it takes)"),
        (["run", "pick-style"], "Missing option '--out'."),
        (["run", "pick-style", "--out"], "Option '--out' requires an argument."),
        (["run", "pick-style", "--oout", "x"], "No such option: --oout"),
        (["run", "pick-style", "--prof", "sd15", "--out", "x"], "No such option: --prof"),
        (["run", "pick-style", "x", "--out", "y"], "unexpected extra argument(s) (x)"),
        (["run", "pick-style", "--out", "x", "--limit", "0"], "Invalid value for '--limit'"),
        (["run", "pick-style", "--out", "x", "--limit", "many"], "Invalid value for '--limit'"),
        (["run", "pick-style", "--out", "x", "--batch=yes"], "'--batch' does not take a value"),
        (["run", "pick-style", "--out", "x", "--max-cost", "nan"], "'nan' is no amount of dollars"),
        (["run", "pick-style", "--out", "x", "--max-cost", "-1"], "'-1' is no amount of dollars"),
        (["run", "pick-style", "--out", "x", "--max-cost", "2,50"], "'2,50' is no amount of dollars"),
        (["run", "pick-style", "--out", ""], "Invalid value for '--out': it is empty: give a path"),
        (
            ["run", "pick-style", "--out", "~nobody-of-that-name/x"],
            "Could not determine home directory",
        ),
        (["judge", " ", "--judges", "clip", "--out", "x"], "Invalid value for 'INPUT': it is empty"),
        (["judge", "x", "--judges", "clip", "--out", ""], "Invalid value for '--out': it is empty"),
        (["export", "", "--out", "x"], "Invalid value for 'RUN': it is empty"),
        (["export", "x", "--out", ""], "Invalid value for '--out': it is empty"),
        (["status", ""], "Invalid value for 'RUN': it is empty"),
        (["validate", ""], "Invalid value for 'PATH': it is empty"),
        (["list", "recepies"], "'recepies' is not one of 'recipes'"),
        (["list"], "Choose from: recipes, judges"),
    ],
)
def test_what_the_command_does_not_take_is_one_line_and_exit_code_2(
    arguments: list[str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    (error,) = said.err.splitlines()
    assert error.startswith("error: ") and line in error
    assert said.out == "" and list(tmp_path.iterdir()) == []


def test_the_home_folder_is_written_in_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert call(monkeypatch, "status", "~/runs/one") == 2
    assert f"{tmp_path}/runs/one is not a run directory" in capsys.readouterr().err


def test_version_help_and_completion(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert re.fullmatch(r"datagen \d+\.\d+\.\d+\n", capsys.readouterr().out)
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    for arguments, told in (
        ([], "Usage: datagen"),
        (["--help"], "Usage: datagen"),
        (["--show-completion", "bash"], "_DATAGEN_COMPLETE"),
    ):
        assert call(monkeypatch, *arguments) == 0
        assert told in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{}", "[]", "not JSON", '{"digest": "d", "version": "0", "recipe": {}}'])
@pytest.mark.parametrize("command", ["run", "status", "export", "validate"])
def test_a_recipe_json_that_is_no_runs_is_one_line(
    command: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.json").write_text(text)
    arguments = {
        "run": ["pick-style", "--out", tmp_path, "--profile", "embedded"],
        "export": [tmp_path, "--out", tmp_path / "x"],
    }.get(command, [tmp_path])
    assert call(monkeypatch, command, *arguments) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and ("recipe.json" in error or "was started with other settings" in error)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (MachineryError("2 shards failed\ntwice"), 1, "error: 2 shards failed twice"),
        (KeyboardInterrupt(), 130, "interrupted: finished work is kept, the same command resumes"),
    ],
)
def test_failures_and_ctrl_c_have_their_exit_codes(
    raised: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise raised

    monkeypatch.setattr(build, "run", stop)
    assert call(monkeypatch, "run", "pick-style", "--out", tmp_path / "out", "--profile", "embedded") == code
    assert capsys.readouterr().err.splitlines()[-1] == line


def test_a_run_without_a_pair_says_why_and_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Done:
        def rows(self, stage: str) -> int:
            return {"pairs": 0}.get(stage, 6)

        made, splits, dataset, place, losses = 1, dict[str, int](), tmp_path, "", list
        plans: ClassVar = {"pairs": types.SimpleNamespace(drops=lambda: {"low match": 6})}

    monkeypatch.setattr(build, "run", lambda *_, **__: Done())
    assert call(monkeypatch, "run", "pick-style", "--out", tmp_path / "out", "--profile", "embedded") == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("no pair passed, so there is nothing to train on (dropped: 6 low match)")


def test_limit_and_profile_reach_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def note(recipe: object, profile: str, out: Path, *, workers: int, **_: object) -> plan.Summary:
        seen.append((recipe.prompts.count, profile, workers))  # type: ignore[attr-defined]
        plans = {name: plan.Plan(name, store.Footers()) for name in ("prompts", "images", "pairs")}
        return plan.Summary(plans, 0, {}, out / "dataset")

    monkeypatch.setattr(build, "run", note)
    out = tmp_path / "out"
    assert call(monkeypatch, "run", "pick-style", "--out", out, "--limit", "5", "--workers", "3") == 0
    assert capsys.readouterr().out == f"nothing to do: 0 prompts, 0 images, 0 pairs in {out / 'dataset'}\n"
    out.mkdir()
    begun = {"digest": "d", "version": "1", "recipe": recipes.resolved(recipes.load("pick-style", []), "sd15")}
    (out / "recipe.json").write_text(json.dumps(begun))
    call(monkeypatch, "run", "pick-style", "--out", out, "--limit", "5000")
    assert "profile sd15: " in capsys.readouterr().err
    assert seen[0] == (5, "embedded", 3)
    assert seen[1][0] > 5
    assert seen[1][1:] == ("sd15", 1)


def test_money_reaches_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []

    def note(*_: object, max_cost: float | None, batch: bool, **options: object) -> plan.Summary:
        seen.extend((max_cost, batch))
        prompts = plan.Plan("prompts", store.Footers([store.Footer(1, 0, 1.0, "d", "1", {"near-duplicate": 2}, "c")]))
        plans = {"prompts": prompts} | {name: plan.Plan(name, store.Footers()) for name in ("images", "pairs")}
        return plan.Summary(plans, 1, {"train": 1}, tmp_path)

    monkeypatch.setattr(build, "run", note)
    assert call(monkeypatch, "run", "pick-style", "--out", tmp_path / "o", "--max-cost", "2.5", "--batch") == 0
    assert seen == [2.5, True]
    assert "dropped prompts: 2 near-duplicate" in capsys.readouterr().out
    assert call(monkeypatch, "run", "pick-style", "--out", tmp_path / "o", "--max-cost", "-1") == 2


def test_estimate_says_what_a_recipe_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "gpt-4.1-mini")
    assert call(monkeypatch, "estimate", "pick-style", "--profile", "sd15", "--set", "prompts.count=40") == 0
    shown = capsys.readouterr().out
    assert "calls" in shown and "$" in shown and "GPU hours" in shown
    assert call(monkeypatch, "estimate", "pick-style", "--profile", "embedded") == 0
    assert "no LLM calls, no cost" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["recipes", "judges", "principles", "templates"])
def test_lists_have_a_line_an_entry(
    what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "list", what) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    expected = {
        "recipes": "pick-style",
        "judges": "clip",
        "principles": "world-styles/pixel-art",
        "templates": "neutral-avoid",
    }[what]
    assert expected in names


def test_doctor_says_what_auto_takes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    for start in ("python", "torch", "cpu", "gpu", "disk", "profile embedded", "profile sdxl", "auto, pick-style"):
        assert any(line.startswith(start) for line in lines), start


def test_an_interrupt_while_the_program_loads_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        @property
        def main(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "datagen.cli", Interrupted())  # type: ignore[arg-type]  # no module: what it stands for
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 130 and capsys.readouterr().err == "interrupted: nothing was begun\n"
