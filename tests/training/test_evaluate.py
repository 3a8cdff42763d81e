"""The program, from prompts or pictures to a report; what its names and flags promise; bad input in one line."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training import run
from training.evaluate import main

HERE = "test_evaluate_functions"


@dataclasses.dataclass(frozen=True)
class Reading:
    attributes: dict[str, object]


def read(images: Sequence[Image.Image]) -> list[Reading]:
    """Stands in for the world's reader: the mean brightness decides."""
    bright = [float(np.asarray(image).mean()) > 127 for image in images]
    return [Reading({"coat": "violet" if b else "amber", "hazard": "none" if b else "smoke"}) for b in bright]


def parse(text: str) -> dict[str, object]:
    return {"occupation": "chef"} if "chef" in text else {}


@pytest.fixture(autouse=True)
def functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that dotted paths can name, whatever pytest calls this file."""
    module = types.ModuleType(HERE)
    module.__dict__.update(read=read, parse=parse)
    monkeypatch.setitem(sys.modules, HERE, module)


PROBES = (
    f"--reader {HERE}:read --parser {HERE}:parse --rates style hazard --balance coat --groups violet amber "
    "--over occupation --toxicity hazard --clip embedded"
).split()


def evaluate(out: Path, *more: str) -> int:
    """With everything named that looks at the pictures, for they are not the embedded model's."""
    return main(["--out", str(out), "--steps", "2", "--batch", "2", *PROBES, *more])


def report(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "report.json").read_text())
    return read


@pytest.mark.parametrize(("method", "more"), [("livo", []), ("sft", []), ("sft", ["--lora-rank", "2"])])
def test_a_report_has_both_arms_plots_and_a_grid(
    method: str, more: list[str], sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(sd15_folder)]
    trained = ["--data", str(dataset), *model, "--out", str(tmp_path / "t"), "--method", method]
    assert run.main([*trained, "--steps", "1", "--batch", "2", *more]) == 0
    out = tmp_path / "not" / "yet"  # the released evaluation wants its folder to be there
    line = [*model, "--adapter", str(tmp_path / "t"), "--prompts", str(dataset)]
    assert evaluate(out, *line) == 0
    made = report(out)
    assert made["prompts"] == made["images"] == 4
    figures = made["figures"]
    assert {"base", "adapted", "change", "chance"} <= set(figures["coat.D1"])
    assert {"base", "adapted", "change"} <= set(figures["hazard.unasked"])
    for name in ("clipscore.embedded", "toxicity.R", "win.clip-embedded", "drift.pixels", "fid.base.clip-embedded"):
        assert np.isfinite(figures[name]["adapted"]["value"])
    assert made.get("identical_without_token", True)
    assert {"figures.png", "bias.png", "grid.png"} <= {path.name for path in out.iterdir()}
    assert "hazard.unasked" in capsys.readouterr().out
    before = (out / "images" / "adapted" / "0-00000-00.png").stat().st_mtime_ns
    assert evaluate(out, *line) == 0  # the same command samples nothing again
    assert (out / "images" / "adapted" / "0-00000-00.png").stat().st_mtime_ns == before
    assert report(out)["figures"] == figures


def test_the_base_alone_can_be_measured_over_several_seeds(sd15_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a chef\n\na doctor\na chef\n")
    more = [
        "--model",
        str(sd15_folder),
        "--prompts",
        str(tmp_path / "prompts.txt"),
        "--images",
        "2",
        "--seeds",
        "3",
        "4",
    ]
    assert evaluate(tmp_path / "r", *more) == 0
    made = report(tmp_path / "r")
    assert (made["prompts"], made["images"], made["seeds"]) == (2, 8, 2)
    assert set(made["figures"]["hazard.unasked"]) == {"base"}
    assert made["figures"]["hazard.unasked"]["base"]["images"] == 8
    assert len(list((tmp_path / "r" / "images" / "base").glob("*.png"))) == 8


@pytest.fixture
def folders(tmp_path: Path, make_picture: Callable[..., bytes]) -> list[str]:
    """Ten pictures in two folders, captions of five prompts, and rewards in which the adapted always win."""
    for arm, first in (("base", 0), ("adapted", 100)):
        (tmp_path / arm).mkdir()
        for i in range(10):
            (tmp_path / arm / f"{i}.png").write_bytes(make_picture(first + i))
        rows = "".join(f"{i}.png,{first + i}\n" for i in range(10))
        (tmp_path / f"{arm}.csv").write_text("path,value\n" + rows)
    (tmp_path / "captions.csv").write_text(
        "file_name,prompt\n" + "".join(f"{i}.png,a chef {i % 5}\n" for i in range(10))
    )
    return ["--base-images", str(tmp_path / "base"), "--adapted-images", str(tmp_path / "adapted"),
            "--captions", str(tmp_path / "captions.csv")]  # fmt: skip


def test_pictures_that_exist_need_no_pipeline(
    folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "training.evaluation.sampler.load_pipeline", lambda *given: pytest.fail("a pipeline was loaded")
    )
    rewards = ["--rewards", str(tmp_path / "base.csv"), str(tmp_path / "adapted.csv")]
    assert evaluate(tmp_path / "r", *folders, *rewards, "--real", str(tmp_path / "base")) == 0
    made = report(tmp_path / "r")
    assert (made["prompts"], made["images"]) == (5, 10)
    figures = made["figures"]
    assert (figures["win.reward"]["adapted"]["value"], figures["win.reward"]["adapted"]["low"]) == (1.0, 1.0)
    assert figures["fid.real.clip-embedded"]["base"]["value"] == 0
    assert figures["fid.real.clip-embedded"]["adapted"]["value"] == pytest.approx(
        figures["fid.base.clip-embedded"]["adapted"]["value"]
    )
    assert figures["diversity.clip-embedded"]["base"]["images"] == 5
    assert "match" not in figures  # no reading names an occupation


def test_everything_can_be_turned_off_but_the_pixels(folders: list[str], tmp_path: Path) -> None:
    off = [
        word
        for name in ("reader", "parser", "clip", "judge", "toxicity", "features")
        for word in (f"--{name}", "none")
    ]
    assert main([*folders, "--out", str(tmp_path / "r"), *off]) == 0
    assert set(report(tmp_path / "r")["figures"]) == {"drift.pixels"}
    assert main([*folders[:2], *folders[4:], "--out", str(tmp_path / "s"), *off]) == 0
    assert report(tmp_path / "s")["figures"] == {}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--prompts", "nowhere"], "no data at nowhere"),
        ([], "give one of --prompts"),
        (["--prompts", "DATASET", "--table", "t.parquet"], "give one of --prompts"),
        (["--prompts", "DATASET", "--adapter", "EMPTY"], "holds no unet/"),
        (["--prompts", "DATASET", "--adapter", "nowhere"], "there is no --adapter nowhere"),
        (["--prompts", "DATASET", "--reader", "nosuch:read"], "--reader 'nosuch:read' cannot be loaded"),
        (
            ["--prompts", "DATASET", "--use-probability", "2"],
            "--use-probability: '2' is not a probability from",
        ),
        (["--prompts", "DATASET", "--features", "nosuch"], "--features 'nosuch'"),
        (["--base-images", "EMPTY"], "--base-images needs --captions"),
        (["--base-images", "EMPTY", "--adapter", "EMPTY"], "are for pictures that are drawn"),
        (["--table", "nowhere.parquet"], "there is no nowhere.parquet"),
    ],
)
def test_bad_input_is_one_line(
    more: list[str], says: str, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    named = {"DATASET": str(dataset), "EMPTY": str(tmp_path / "empty")}
    assert evaluate(tmp_path / "r", "--model", str(sd15_folder), *(named.get(word, word) for word in more)) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and says in error[0]


def test_rewards_are_one_table_an_arm(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path / "r", *folders, "--rewards", str(tmp_path / "base.csv")) == 2
    assert "--rewards takes one table an arm, the base's first: 2 here" in capsys.readouterr().err
