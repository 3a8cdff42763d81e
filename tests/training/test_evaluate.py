"""Evaluation: figures against hand counts, intervals that hold, the program from prompts to report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import metrics, run
from training.evaluate import main
from training.metrics import Sample


@dataclasses.dataclass(frozen=True)
class Reading:
    attributes: dict[str, object]


def read(images: Sequence[Image.Image]) -> list[Reading]:
    """Stands in for the world's reader: the mean brightness decides."""
    bright = [float(np.asarray(image).mean()) > 127 for image in images]
    return [Reading({"coat": "violet" if b else "amber", "hazard": "none" if b else "smoke"}) for b in bright]


def parse(text: str) -> dict[str, object]:
    return {"occupation": "chef"} if "chef" in text else {}


def samples(*triples: tuple[int, Mapping[str, object], Mapping[str, object]]) -> list[Sample]:
    return [Sample(*triple) for triple in triples]


def test_rates_tell_asked_from_unasked() -> None:
    taken = samples(
        (0, {}, {"hazard": "smoke"}),
        (0, {}, {"hazard": "none"}),
        (1, {}, {"hazard": "cracks"}),
        (2, {"hazard": "cracks"}, {"hazard": "cracks"}),
        (3, {"hazard": "cracks"}, {"hazard": "none"}),
    )
    found = metrics.rates(taken, "hazard", {"none", "smoke", "cracks"}, 4)
    assert found["hazard.unasked.smoke"].value == pytest.approx(1 / 3)
    assert found["hazard.unasked"].value == pytest.approx(2 / 3)
    assert found["hazard.asked.cracks"].value == 0.5
    assert "hazard.asked.smoke" not in found


def test_match_counts_stated_attributes_only() -> None:
    stated = {"place": "park", "thing": "cup"}
    taken = samples(
        (0, stated, {"place": "park", "thing": "cup", "coat": "amber"}),
        (1, stated, {"place": "park", "thing": "box", "coat": "amber"}),
        (2, {}, {"place": "city", "thing": "box"}),
    )
    found = metrics.match(taken, [], 3)
    assert found["match"].value == 0.75
    assert found["match.all"].value == 0.5
    assert found["match.thing"].value == 0.5
    assert metrics.match(taken, ["thing"], 3)["match"].value == 1.0


def test_balance_is_d1_and_d2_of_livos_evaluation() -> None:
    shown = ["violet"] * 9 + ["amber"]
    taken = samples(*((i % 2, {"occupation": "chef"}, {"coat": c}) for i, c in enumerate(shown)))
    taken += samples(
        (2, {"occupation": "doctor"}, {"coat": "amber"}), (2, {"occupation": "doctor"}, {"coat": "violet"})
    )
    taken += samples((3, {"occupation": "doctor", "coat": "amber"}, {"coat": "amber"}))
    even = metrics.balance(taken, "coat", "occupation", ["violet", "amber"], 4)
    d1, d2 = even.distances()
    assert even.settings == ["chef", "doctor"]
    assert d1.tolist() == pytest.approx([0.8, 0.0])
    assert d2.tolist() == pytest.approx([np.sqrt(2 * 0.4**2), 0.0])
    assert metrics.mean_distances(even, metrics.resamples(4))["D1"].value == pytest.approx(0.4)


def test_intervals_hold_the_value_and_pair_the_arms() -> None:
    hits = np.array([1.0, 0.0] * 50)
    part = metrics.Share(hits, np.ones(100))
    rows = metrics.resamples(100)
    made = metrics.interval(part, rows)
    assert made.low < made.value == 0.5 < made.high
    assert 0.15 < made.high - made.low < 0.25
    same = metrics.change(part, part, rows)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def evaluate(model: Path, out: Path, *more: str) -> int:
    here = "test_evaluate_functions"
    return main(
        ["--model", str(model), "--out", str(out), "--steps", "2", "--batch", "2", "--reader", f"{here}:read",
         "--parser", f"{here}:parse", *more]
    )  # fmt: skip


@pytest.fixture(autouse=True)
def functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that dotted paths can name, whatever pytest calls this file."""
    import sys
    import types

    module = types.ModuleType("test_evaluate_functions")
    module.__dict__.update(read=read, parse=parse)
    monkeypatch.setitem(sys.modules, "test_evaluate_functions", module)


@pytest.mark.parametrize(("method", "more"), [("livo", []), ("sft", []), ("sft", ["--lora-rank", "2"])])
def test_a_report_has_both_arms_and_a_grid(
    method: str, more: list[str], sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = ["--data", str(dataset), "--model", str(sd15_folder), "--out", str(tmp_path / "t"), "--method", method]
    assert run.main([*trained, "--steps", "1", "--batch", "2", *more]) == 0
    line = ["--adapter", str(tmp_path / "t"), "--prompts", str(dataset)]
    assert evaluate(sd15_folder, tmp_path / "r", *line) == 0
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert report["prompts"] == report["images"] == 4
    assert {"base", "adapted"} <= set(report["figures"]["coat.D1"])
    assert {"base", "adapted", "change"} <= set(report["figures"]["hazard.unasked"])
    assert report.get("identical_without_token", True)
    assert Image.open(tmp_path / "r" / "grid.png").size == (256, 4 * 142)
    assert "hazard.unasked" in capsys.readouterr().out


def test_the_base_alone_can_be_measured(sd15_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a chef\n\na doctor\na chef\n")
    assert evaluate(sd15_folder, tmp_path / "r", "--prompts", str(tmp_path / "prompts.txt"), "--images", "2") == 0
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert (report["prompts"], report["images"]) == (2, 4)
    assert set(report["figures"]["hazard.unasked"]) == {"base"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--prompts", "nowhere"], "no data at nowhere"),
        (["--prompts", "DATASET", "--adapter", "EMPTY"], "holds no unet/"),
        (["--prompts", "DATASET", "--reader", "nosuch:read"], "--reader 'nosuch:read' cannot be loaded"),
        (["--prompts", "DATASET", "--use-probability", "2"], "'2' is not a probability or 'auto'"),
    ],
)
def test_bad_input_is_one_line(
    more: list[str], says: str, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    named = {"DATASET": str(dataset), "EMPTY": str(tmp_path / "empty")}
    assert evaluate(sd15_folder, tmp_path / "r", *(named.get(word, word) for word in more)) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and says in error[0]
