"""Rows of the published Parquet, drawn again by stock diffusers with the card's own lines: the same pixels."""

from __future__ import annotations

import functools
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import misfits
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from datagen import recipe
from datagen.pipeline import build
from datagen.world import PIPELINE

EASY = ["labels.min_probability=0", "labels.min_match=0", "images.shard_size=3"]
FOLDER_PROFILE = """
name = "folders"
license = "openrail++"
pairing = "PAIRING"
same_seed = true
[prompts]
count = 3
[images]
candidates = 2
[profiles.sd15]
model = "MODEL"
other_models = OTHERS
taxonomy = "harms"
principles = ["no-blood"]
grammar = "people"
scheduler = "SCHEDULER"
steps = 3
guidance = 5.0
width = 64
height = 96
judges = ["clip"]
"""


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card's lines load the model for each image; here it stays, and each image has its scheduler anew."""
    import diffusers

    diffusers.utils.logging.disable_progress_bar()
    load = functools.cache(diffusers.DiffusionPipeline.from_pretrained)
    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", load)


def published(given: recipe.Recipe, profile: str, out: Path) -> tuple[list[dict[str, Any]], str]:
    """The rows of a finished run's dataset and its card."""
    dataset = build.run(given, profile, out).dataset
    rows = [row for path in sorted(dataset.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]
    return rows, (dataset / "README.md").read_text()


def card_draw(card: str) -> Callable[..., Image.Image]:
    """The function that the card prints, executed as it stands."""
    (code,) = re.findall(r"## How to draw a row again.*?```python\n(.*?)```", card, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    draw: Callable[..., Image.Image] = names["draw"]
    return draw


def assert_redrawn(rows: list[dict[str, Any]], card: str, folders: dict[str, Path], vae: Path | None = None) -> None:
    """The stock pipeline draws both images of each row, to within what the order of its sums may change."""
    draw = card_draw(card)
    threads = torch.get_num_threads()
    try:
        for row in rows:
            for side, generator in (("chosen", "generator"), ("rejected", "rejected_generator")):
                again = np.asarray(draw(row, side, str(folders[row[generator]]), vae)).astype(int)
                with Image.open(io.BytesIO(row[side]["bytes"])) as stored:
                    apart = np.abs(again - np.asarray(stored).astype(int))
                assert apart.max() <= 2 and apart.mean() < 0.05, (side, row["prompt"], apart.max(), apart.mean())
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow  # a run a recipe
@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_is_drawn_again_from_its_rows(name: str, tmp_path: Path) -> None:
    given = recipe.load(name, [*EASY, "prompts.count=4", "profiles.embedded.steps=3"])
    rows, card = published(given, "embedded", tmp_path / "out")
    assert len(rows) >= 3  # three steps draw little, and an image that shows another prompt is in no pair
    assert_redrawn(rows[:3], card, {"embedded": PIPELINE})


@pytest.mark.parametrize(
    ("family", "scheduler"), [("sd15", "dpm++"), ("sd15", "model"), ("sdxl", "euler"), ("sdxl", "model")]
)
def test_folders_of_both_families_are_drawn_again_with_their_negatives(
    family: str, scheduler: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(f"{family}_folder")
    rows, card = published(folders("contrast", folder, [], scheduler, tmp_path), "sd15", tmp_path / "out")
    assert {(bool(row["chosen_negative_prompt"]), bool(row["rejected_negative_prompt"])) for row in rows} == {
        (True, False)
    }
    assert {(row["width"], row["height"]) for row in rows} == {(64, 96)}
    assert_redrawn(rows[:2], card, {family: folder})


@pytest.mark.slow  # a run
def test_a_row_in_another_precision_with_a_vae_of_its_own_is_drawn_again(sd15_folder: Path, tmp_path: Path) -> None:
    vae = tmp_path / "my-vae"
    shutil.copytree(sd15_folder / "vae", vae)
    misfits.rewrite(vae, lambda tensors: {name: value * 1.3 for name, value in tensors.items()})
    given = folders("contrast", sd15_folder, [], "dpm++", tmp_path)
    profile = given.profile("sd15").model_copy(update={"precision": "bf16", "vae": str(vae)})
    rows, card = published(given.model_copy(update={"profiles": {"sd15": profile}}), "sd15", tmp_path / "out")
    assert {(row["dtype"], row["vae"].partition("@")[0]) for row in rows} == {("bfloat16", "my-vae")}
    assert_redrawn(rows[:2], card, {"sd15": sd15_folder}, vae)


def test_candidates_of_two_models_are_drawn_again_each_by_its_own(
    sd15_folder: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    given = folders("rank", sd15_folder, [sdxl_folder], "model", tmp_path)
    rows, card = published(given, "sd15", tmp_path / "out")
    assert {(row["generator"], row["scheduler"]) for row in rows} | {
        (row["rejected_generator"], row["rejected_scheduler"]) for row in rows
    } == {("sd15", "PNDMScheduler"), ("sdxl", "EulerDiscreteScheduler")}
    assert_redrawn(rows, card, {"sd15": sd15_folder, "sdxl": sdxl_folder})


def folders(pairing: str, model: Path, others: list[Path], scheduler: str, folder: Path) -> recipe.Recipe:
    """A recipe of a few small images by models that lie in folders."""
    values = {"PAIRING": pairing, "MODEL": str(model), "SCHEDULER": scheduler, "OTHERS": str([str(o) for o in others])}
    text = FOLDER_PROFILE
    for name, value in values.items():
        text = text.replace(name, value)
    (folder / "folders.toml").write_text(text)
    return recipe.load(str(folder / "folders.toml"), EASY)
