"""Table, JSON, plots and grid: figures in their units, no NaN in JSON, pictures where they belong."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from training.evaluation import plots, report
from training.evaluation.contact_sheet import contact_sheet
from training.evaluation.pictures import Pictures, Round

FIGURES: dict[str, dict[str, dict[str, float]]] = {
    "match": {
        "base": {"value": 0.5, "low": 0.25, "high": 0.75, "images": 8},
        "change": {"value": -0.125, "low": -0.2, "high": 0.0},
    },
    "clipscore.tiny": {"base": {"value": 31.25, "low": 30.0, "high": 32.0, "images": 8}},
    "fid.base.tiny": {"adapted": {"value": 2.5, "images": 8}, "chance": {"value": 0.5}},
    "coat.D1.chef": {
        "base": {"value": 0.8, "low": 0.5, "high": 1.0, "images": 8},
        "adapted": {"value": float("nan"), "images": 0},
    },
    "coat.violet.chef": {"base": {"value": 0.9, "low": 0.7, "high": 1.0, "images": 8}},
    "coat.amber.chef": {"base": {"value": 0.1, "low": 0.0, "high": 0.3, "images": 8}},
}


def whole() -> dict[str, Any]:
    return {"settings": {"probes": {"balance": "coat", "groups": ["violet", "amber"]}}, "seeds": 1, "figures": FIGURES}


def test_shares_are_shown_in_per_cent_and_other_figures_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    report.show(whole())
    shown = capsys.readouterr().out
    assert "50.0 [25.0, 75.0]" in shown and "-12.5 [-20.0, 0.0]" in shown
    assert "31.2 [30.0, 32.0]" in shown and "2.50" in shown and "0.50" in shown
    assert "nan" not in shown and "coat.violet.chef" not in shown


def test_json_has_no_nan(tmp_path: Path) -> None:
    report.write(whole(), tmp_path)
    read = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert read["figures"]["coat.D1.chef"]["adapted"]["value"] is None
    assert read["figures"]["match"] == FIGURES["match"]


def test_plots_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    plots.write(FIGURES, "coat", ["violet", "amber"], tmp_path)
    for name in ("figures.png", "bias.png"):
        image = Image.open(tmp_path / name).convert("L")
        assert image.width > 800 and image.getextrema()[0] < 60  # something is drawn, on white
    plots.write({"match": FIGURES["match"]}, "coat", ["violet"], tmp_path / "..")
    assert [axes.get_yticklabels()[0].get_text() for axes in plots.overview({"match": FIGURES["match"]}).axes] == [
        "match"
    ]


def pictures(count: int, colour: str) -> Pictures:
    stream = io.BytesIO()
    Image.new("RGB", (16, 8), colour).save(stream, "PNG")
    return Pictures(["x"] * count, lambda i: stream.getvalue())


def test_the_grid_has_a_block_an_arm_and_prompts_from_the_whole_list() -> None:
    drawn = Round(
        [p for p in range(20) for _ in range(3)], {"base": pictures(60, "red"), "adapted": pictures(60, "blue")}
    )
    page = contact_sheet(drawn, [f"prompt {i}, a long caption that must be wrapped" for i in range(20)])
    colours = {colour: number for number, colour in page.getcolors(1 << 20) or []}
    assert colours[(255, 0, 0)] == colours[(0, 0, 255)] == 8 * 3 * 128 * 64
    alone = contact_sheet(Round([0], {"base": pictures(1, "red")}), ["one"])
    assert alone.width < page.width and alone.height < page.height
