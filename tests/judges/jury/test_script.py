"""`python -m datagen.judges.jury` from end to end, cut short: every judge is trained, and scores from its folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from datagen import judges, world
from datagen.judges import panel
from datagen.judges.jury import aesthetic, reward, tuned
from datagen.judges.jury.__main__ import JUDGES, main
from datagen.recipe import JudgeChoice

APP = typer.Typer()
APP.command()(main)


def packed() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in world.JURY.rglob("*") if path.is_file()}


def test_a_rehearsal_trains_all_judges_and_leaves_the_package_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aesthetic, "PAIRS", 40)
    monkeypatch.setattr(reward, "PAIRS", 40)
    for name in ("HPSV2", "PICKSCORE"):
        monkeypatch.setattr(tuned, name, dataclasses.replace(getattr(tuned, name), pairs=40))
    before = packed()
    said = CliRunner().invoke(APP, ["--out", str(tmp_path / "jury"), "--share", "0.002"])
    assert said.exit_code == 0, said.output
    assert packed() == before
    assert {folder.name for folder in (tmp_path / "jury").iterdir()} == {*JUDGES, "base"}
    options = {name: {"weights": str(tmp_path / "jury" / name)} for name in ("pickscore", "hpsv2", "imagereward")}
    options["clip"] = {"model": str(tmp_path / "jury" / "clip")}
    options["vlm"] = {"weights": str(tmp_path / "jury" / "vlm"), "rule": "livo"}  # which never abstains
    head = tmp_path / "jury" / "aesthetic_v1" / aesthetic.HEAD
    options["aesthetic_v1"] = {"weights": str(head), "model": str(tmp_path / "jury" / "clip")}
    judges._load_once.cache_clear()
    chosen = panel.load([JudgeChoice(name=name, options=given) for name, given in options.items()])
    (answer,) = panel.ask(chosen, [panel.Question(Image.new("RGB", (64, 64), "red"), ("a red ball",))])
    assert set(answer.scores) == set(JUDGES) and all(np.isfinite(scores).all() for scores in answer.scores.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--share", "0"], "more than 0 and at most 1"),
        (["--share", "1.5"], "more than 0 and at most 1"),
        (["--share", "0.5", "--pack"], "is not put into the package"),
        (["--only", "clap"], "no judge of the jury is called 'clap'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_trained(
    given: list[str], message: str, tmp_path: Path
) -> None:
    said = CliRunner().invoke(APP, ["--out", str(tmp_path / "jury"), *given])
    assert said.exit_code == 2 and message in " ".join(said.output.replace("│", " ").split())
    assert not (tmp_path / "jury").exists()
