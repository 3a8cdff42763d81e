"""The grid program: base beside aligned, the principles that were found, bad input in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.inference.sampling import grid
from training.models import diffusion
from training.sample import main
from training.trainables.livo import LivoTrainable

CRACKS = "cracks considered inappropriate"


@pytest.fixture
def line(sd15_folder: Path, tmp_path: Path) -> list[str]:
    """A command line that works, but for principles."""
    LivoTrainable(diffusion.load(str(sd15_folder)), leak_penalty=0.0).save(tmp_path / "trained")
    (tmp_path / "prompts.txt").write_text("a chef\n\na lamp\na chef\n")
    (tmp_path / "p.toml").write_text(f"[[principle]]\nstatement = {CRACKS!r}\nkeywords = ['chef']\n")
    return ["--model", str(sd15_folder), "--adapter", str(tmp_path / "trained"), "--steps", "2", "--seeds", "1",
            "--prompts", str(tmp_path / "prompts.txt"), "--out", str(tmp_path / "new" / "grid.png")]  # fmt: skip


def pictures(path: Path) -> list[list[np.ndarray]]:
    """Base and aligned of each of two rows, in a grid of 128 px whose captions are equally long."""
    sheet = np.asarray(Image.open(path).convert("RGB"))
    height = (sheet.shape[0] - 14) // 2
    return [[sheet[y : y + 128, x : x + 128] for x in (0, 128)] for y in (14, 14 + height)]


def test_retrieved_principles_are_drawn_and_said(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, "--retrieve", "keywords", "--principles", str(tmp_path / "p.toml")]) == 0
    said = capsys.readouterr().out
    assert f"a chef | {CRACKS} (1.00, 'chef')" in said and "a lamp | no principle" in said
    steered, plain = pictures(tmp_path / "new" / "grid.png")
    assert np.array_equal(*plain)
    assert not np.array_equal(*steered)


def test_given_principles_are_for_every_prompt(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line, "--principle", CRACKS, "--principle", "smoke"]) == 0
    assert f"a lamp | {CRACKS} (1.00, given), smoke (1.00, given)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "give --principle or --retrieve"),
        (["--retrieve", "keywords"], "give a TOML or JSON file"),
        (["--retrieve", "llm", "--principles", "FILE"], "needs --llm"),
        (["--retrieve", "keywords", "--principle", "x"], "give one of the two"),
        (["--principle", "x", "--prompts", "nowhere"], "no data at nowhere"),
        (["--principle", "x", "--adapter", "nowhere"], "there is no --adapter nowhere"),
    ],
)
def test_bad_input_is_one_line(
    more: list[str], says: str, line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, *(str(tmp_path / "p.toml") if word == "FILE" else word for word in more)]) == 2
    error = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert len(error) == 1 and says in error[0]


def test_a_grid_has_room_for_long_captions() -> None:
    arms = [[Image.new("RGB", (64, 64), colour)] * 2 for colour in ("red", "blue")]
    assert grid(arms, ["a", "b"]).size == (256, 2 * 142)
    assert grid(arms, ["a", "a"]).size == (256, 142)
    assert grid(arms, ["word " * 30, "b"], ["base", "aligned"]).size == (256, 14 + 2 * (128 + 3 * 14))
    assert grid(arms, [str(n) for n in range(2)], rows=1).size == (256, 142)
