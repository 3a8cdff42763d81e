"""The embedded world's instruments look at the embedded model's pictures; for others what looks at them is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datagen import world
from training.errors import TrainingError
from training.evaluate import main
from training.evaluation import attributes, figures
from training.evaluation.observations import Observations
from training.evaluation.probes import Probes, unseen
from training.settings.evaluation import ProbeOptions, for_pictures

OFF = {"reader": "none", "parser": "none", "clip": "none", "toxicity": "none", "groups": (), "rates": ()}


def test_the_embedded_models_pictures_keep_the_defaults() -> None:
    assert for_pictures(ProbeOptions(), set(), embedded=True) == (ProbeOptions(), [])


def test_other_pictures_have_no_defaults_and_it_is_said_what_to_name() -> None:
    made, notes = for_pictures(ProbeOptions(), set(), embedded=False)
    assert {name: getattr(made, name) for name in OFF} == OFF and made.over == "prompt"
    assert len(notes) == 1 and all(flag in notes[0] for flag in ("--reader", "--clip", "--toxicity"))


def test_what_is_named_is_obeyed_and_named_none_is_not_missed() -> None:
    given = {"clip": "ViT-L-14/openai", "reader": "none", "toxicity": "none", "parser": "embedded"}
    made, notes = for_pictures(ProbeOptions(**given), given.keys(), embedded=False)
    assert (made.clip, made.parser, notes) == ("ViT-L-14/openai", "embedded", [])


@pytest.mark.parametrize("given", [{"reader": "embedded"}, {"clip": "embedded"}, {"judge": ("embedded",)}])
def test_the_worlds_own_on_other_pictures_is_said(given: dict[str, Any]) -> None:
    _, notes = for_pictures(ProbeOptions(**given), given.keys(), embedded=False)
    assert f"--{next(iter(given))} 'embedded' knows the embedded model's pictures only" in notes[-1]


@pytest.mark.parametrize(
    "given", [{"reader": "clip"}, {"reader": "clip", "balance": "gender"}, {"groups": ("male", "female")}]
)
def test_groups_are_never_the_worlds_on_other_pictures(given: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="--balance gender --groups male female"):
        for_pictures(ProbeOptions(**given), given.keys(), embedded=False)


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize(
    "given", [{"toxicity": "hazard"}, {"rates": ("style",)}, {"balance": "gender", "groups": ("male", "female")}]
)
def test_what_a_reader_would_see_needs_one(embedded: bool, given: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=f"--{next(iter(given))}.*: attributes are what a --reader sees"):
        for_pictures(ProbeOptions(reader="none", **given), {"reader", *given}, embedded=embedded)


def report(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "report.json").read_text())
    return read


def drawn(model: str | Path, out: Path, *more: str) -> int:
    (out.parent / "prompts.txt").write_text("a chef with a red cup in a park\na doctor on a beach\n")
    line = ["--model", str(model), "--prompts", str(out.parent / "prompts.txt"), "--steps", "2", "--out", str(out)]
    return main([*line, *more])


def test_a_copy_of_the_embedded_model_is_measured_as_the_embedded_one(tmp_path: Path) -> None:
    copy = shutil.copytree(world.PIPELINE, tmp_path / "mine")
    less = ("--reader", "none", "--toxicity", "none", "--features", "none")  # its templates take a while to draw
    assert drawn(copy, tmp_path / "copy", *less) == drawn("embedded", tmp_path / "own", *less) == 0
    assert report(tmp_path / "copy")["figures"] == report(tmp_path / "own")["figures"]
    assert "clipscore.embedded" in report(tmp_path / "own")["figures"] and report(tmp_path / "own")["notes"] == []


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_another_models_pictures_are_not_measured_by_the_world(
    family: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = request.getfixturevalue(f"{family}_folder")
    assert drawn(model, tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert "nothing would be measured" in error and "--clip" in error
    assert not (tmp_path / "r").exists()  # said before anything is drawn


def save(folder: Path, *images: np.ndarray) -> str:
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
    return str(folder)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def test_pictures_of_nobody_knows_what_are_compared_by_pixels_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, adapted = save(tmp_path / "a", noise(0), noise(1)), save(tmp_path / "b", noise(2), np.zeros_like(noise(1)))
    (tmp_path / "c.csv").write_text("file_name,prompt\n0.png,a chef\n1.png,a doctor\n2.png,a cat\n")
    line = ["--base-images", base, "--adapted-images", adapted, "--captions", str(tmp_path / "c.csv"), "--out"]
    assert main([*line, str(tmp_path / "r")]) == 0
    made = report(tmp_path / "r")
    assert set(made["figures"]) == {"drift.pixels"} and made["figures"]["drift.pixels"]["adapted"]["images"] == 1
    assert made["left_out"] == {"base": 0, "adapted": 1}
    said = capsys.readouterr().out
    for words in ("names 1 pictures that are not in", "not measured: ", "1 pictures of the adapted arm are of one"):
        assert words in said and any(words in note for note in made["notes"])
    assert main([*line, str(tmp_path / "s"), "--model", "embedded", "--features", "none"]) == 0
    assert "clipscore.embedded" in report(tmp_path / "s")["figures"]


def test_arms_that_do_not_differ_are_said(tmp_path: Path) -> None:
    base, adapted = save(tmp_path / "a", noise(0), noise(1)), save(tmp_path / "b", noise(0), noise(1))
    (tmp_path / "c.csv").write_text("file_name,prompt\n0.png,a chef\n1.png,a doctor\n")
    line = ["--base-images", base, "--adapted-images", adapted, "--captions", str(tmp_path / "c.csv")]
    assert main([*line, "--out", str(tmp_path / "r")]) == 0
    assert any("what was trained does nothing here" in note for note in report(tmp_path / "r")["notes"])


def observed(*shown: dict[str, object], **more: Any) -> Observations:
    stated = [{"place": "park"}]
    return Observations(["a chef"], stated, np.zeros(len(shown), int), list(shown), **more)


READER = Probes(lambda images, texts: [], None, None, "hazard", {})


def test_what_no_reading_has_gives_no_figure_and_is_said() -> None:
    one = observed({"mood": "calm"}, {"mood": "wild"})
    options = ProbeOptions(over="prompt")
    assert figures.of_arm(one, options, {"style": set(), "hazard": set()}, READER) == {}
    said = unseen([{"base": one}], READER, options)
    assert [note.split(":")[0] for note in said] == [
        "--rates style",
        "--rates hazard",
        "--balance coat",
        "--toxicity hazard",
    ]


def test_a_reading_that_lacks_an_attribute_does_not_show_it() -> None:
    one = observed({"hazard": "none"}, {"hazard": "smoke"}, {})
    assert attributes.rates(one, "hazard", {"none", "smoke"})["hazard.unasked"].value == pytest.approx(1 / 3)


def test_judges_that_abstain_are_counted() -> None:
    nan = np.array([np.nan, np.nan])
    one = observed({}, {}, scores={"pick": nan, "hps": np.array([1.0, np.nan])}, toxicity=nan)
    probes = Probes(None, None, None, lambda images: [], {})
    said = unseen([{"base": one, "adapted": one}], probes, ProbeOptions())
    assert said == [
        "pick abstained from 4 of 4 pictures, which do not count",
        "hps abstained from 2 of 4 pictures, which do not count",
        "--toxicity abstained from 4 of 4 pictures, which do not count",
    ]
