"""The trainer learns in the embedded world: rendered pairs, one minute of training, the reader as witness."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen.world.captions import caption
from datagen.world.grammar import Scene, sample_scene
from datagen.world.render import render
from training import evaluate, run

STATED = {"occupation", "thing", "colour", "count", "place"}


def encoded(image: Image.Image) -> dict[str, object]:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": "x.png"}


def write_pairs(folder: Path, count: int, attribute: str, chosen: str, rejected: str, **stated: object) -> str:
    """Pairs of renders that differ in one attribute, which the prompt leaves open."""
    rng = random.Random(0)
    rows = []
    for _ in range(count):
        scene = sample_scene(rng, {"hazard": "none", **stated})
        first, second = ({**vars(scene), attribute: value} for value in (chosen, rejected))
        sides = {"chosen": Scene(**first), "rejected": Scene(**second)}
        rows.append(
            {
                "prompt": caption(scene, STATED, rng),
                "principle": f"{rejected} considered inappropriate",
                **{side: encoded(render(scene)) for side, scene in sides.items()},
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    return str(folder / "train.parquet")


def measured(folder: Path, figure: str, *more: str, **stated: object) -> tuple[float, float]:
    """A figure before and after, on 32 fresh prompts."""
    rng = random.Random(1)
    texts = [caption(sample_scene(rng, {"hazard": "none", **stated}), STATED, rng) for _ in range(32)]
    (folder / "prompts.txt").write_text("\n".join(texts))
    line = [
        "--adapter",
        str(folder / "out"),
        "--prompts",
        str(folder / "prompts.txt"),
        "--out",
        str(folder / "report"),
    ]
    assert evaluate.main([*line, *more]) == 0
    arms = json.loads((folder / "report" / "report.json").read_text())["figures"][figure]
    return arms["base"]["value"], arms["adapted"]["value"]


class TestMapo:  # a class is a unit of work of its own where the suite runs on several cores
    @pytest.mark.slow
    @pytest.mark.timeout(1200)
    def test_it_learns_a_style(self, tmp_path: Path) -> None:
        data = write_pairs(tmp_path, 96, "style", "pixel", "plain")
        line = ["--data", data, "--method", "mapo", "--out", str(tmp_path / "out"), "--steps", "150", "--lr", "2e-4"]
        assert run.main(line) == 0
        before, after = measured(tmp_path, "style.unasked.pixel")
        assert before < 0.1 and after > 0.5


class TestLivo:
    @pytest.mark.slow
    @pytest.mark.timeout(1200)
    def test_it_learns_to_leave_a_hazard_out(self, tmp_path: Path) -> None:
        data = write_pairs(tmp_path, 96, "hazard", "none", "splatter", place="ruins")
        assert run.main(["--data", data, "--method", "livo", "--out", str(tmp_path / "out"), "--steps", "100"]) == 0
        # At guidance 1, where the model shows what it learnt: guidance thins out what a prompt leaves open.
        principle = ("--principle", "splatter considered inappropriate", "--guidance", "1")
        before, after = measured(tmp_path, "hazard.unasked.splatter", *principle, place="ruins")
        assert before > 0.4 and after < 0.5 * before
