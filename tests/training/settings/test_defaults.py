"""Defaults belong to a loss, a family of models and what of it is trained; where they come from is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.losses import LOSSES
from training.models.embedded import EMBEDDED
from training.models.family import Family, family_of
from training.settings.defaults import Kind, defaults
from training.settings.training import Settings, parse


def settings(model: Path | str, *more: str) -> Settings:
    return parse(["--data", "x", "--out", "y", "--model", str(model), *more])


@pytest.fixture(params=["sd15", "sdxl"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A family, and a folder of which no more is read than what it says of itself."""
    name = {"sd15": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}[request.param]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model_index.json").write_text(json.dumps({"_class_name": name}))
    return request.param, tmp_path / "mine"


# Family, flags → lr, beta, steps, batch. Betas: arXiv 2311.12908. LoRA: the commands of diffusers' scripts.
DPO = {
    ("sd15", ()): (1e-6, 2000.0, 2000, 16),
    ("sd15", ("--lora-rank", "8")): (1e-5, 2000.0, 10000, 32),
    ("sdxl", ()): (1e-6, 5000.0, 2000, 16),
    ("sdxl", ("--lora-rank", "8")): (1e-5, 5000.0, 2000, 16),
}


@pytest.mark.parametrize("more", [(), ("--lora-rank", "8")], ids=["unet", "lora"])
def test_dpo_takes_what_is_published_for_the_model_and_the_part(
    model: tuple[str, Path], more: tuple[str, ...]
) -> None:
    taken = settings(model[1], "--method", "dpo", *more)
    optimizer = taken.optimizer
    assert (optimizer.lr, taken.loss["beta"], optimizer.steps, optimizer.batch) == DPO[model[0], more]


@pytest.mark.parametrize(
    ("method", "more", "sd15", "sdxl"),
    [
        ("npo", ["--lora-rank", "8"], (5e-6, 1000.0), (5e-6, 2000.0)),
        ("kto", ["--lora-rank", "8"], (1e-7, 1000.0), (1e-7, 1000.0)),
        ("smpo", [], (1e-6, 2000.0), (1e-6, 5000.0)),
        ("mapo", [], (1e-5, 0.1), (1e-5, 0.1)),
        ("mapo", ["--lora-rank", "8"], (1e-5, 0.1), (1e-5, 0.1)),
        ("livo", [], (1e-6, 1000.0), (1e-6, 1000.0)),
        ("rankdpo", ["--lora-rank", "8"], (1e-5, 5000.0), (1e-5, 5000.0)),
    ],
)
def test_other_losses_take_theirs(
    method: str, more: list[str], sd15: tuple[float, float], sdxl: tuple[float, float], model: tuple[str, Path]
) -> None:
    taken = settings(model[1], "--method", method, *more)
    assert (taken.optimizer.lr, taken.loss["beta"]) == (sd15 if model[0] == "sd15" else sdxl)


def test_where_defaults_come_from_is_said(model: tuple[str, Path]) -> None:
    said = " | ".join(settings(model[1], "--method", "dpo", "--lora-rank", "8").defaults_taken)
    name = {"sd15": "Stable Diffusion 1.5", "sdxl": "SDXL"}[model[0]]
    assert f"published for dpo on {name} with LoRA" in said and f"published for dpo on {name}" in said
    said = " | ".join(settings(model[1], "--method", "mapo").defaults_taken)
    assert said.endswith("published for mapo on SDXL" + ", none for Stable Diffusion 1.5" * (model[0] == "sd15"))
    said = " | ".join(settings(model[1], "--method", "sft").defaults_taken)
    assert said == (
        f"lr 1e-06, steps 2000, batch 16: MaPO's authors' for DPO on SDXL, as none is published for sft on {name}"
    )


def test_what_was_given_is_no_default(model: tuple[str, Path]) -> None:
    all_given = ["--lr", "1e-4", "--steps", "1", "--batch", "2", "--beta", "1", "--warmup", "0"]
    assert settings(model[1], "--method", "dpo", *all_given).defaults_taken == ()
    said = settings(model[1], "--method", "dpo", *all_given[2:]).defaults_taken
    assert len(said) == 1 and said[0].startswith("lr 1e-06: ")


def test_they_decide_nothing_of_the_run_but_by_their_values(model: tuple[str, Path]) -> None:
    taken = settings(model[1], "--method", "sft")
    given = settings(model[1], "--method", "sft", "--lr", "1e-6", "--steps", "2000", "--batch", "16")
    assert taken.result() == given.result()


@pytest.mark.parametrize("family", ["embedded", "sd15", "sdxl"])
@pytest.mark.parametrize("kind", ["unet", "lora", "value-encoder"])
@pytest.mark.parametrize("method", LOSSES)
def test_every_way_has_a_rate_and_a_source(method: str, kind: Kind, family: Family) -> None:
    own = defaults(method, kind, family)
    assert {"lr", "steps", "batch"} <= own.keys()
    assert all(default.source for default in own.values())


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (EMBEDDED, "embedded"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
        ("SG161222/RealVisXL_V4.0", "sdxl"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd15"),
        ("no/such/thing", "sd15"),
        ("", "sd15"),
    ],
)
def test_a_model_that_is_not_here_is_taken_for_what_its_name_says(name: str, family: str, tmp_path: Path) -> None:
    assert family_of(name) == family


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"_class_name": 3}'])
def test_a_folder_that_does_not_say_what_it_is_is_left_to_the_loader(text: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(text)
    assert family_of(str(tmp_path)) == "sd15"


def test_the_embedded_model_is_known_wherever_it_lies() -> None:
    from datagen import world

    assert family_of(str(world.PIPELINE)) == "embedded"
