"""Which profile `auto` takes, and when weights count as present."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen import doctor
from datagen.errors import RecipeError
from datagen.recipe import Recipe, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a model's folder looks like from outside."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").touch()
    (tmp_path / "unet/diffusion_pytorch_model.safetensors").touch()
    return tmp_path


@pytest.fixture
def recipe(folder: Path) -> Recipe:
    return load("pick-style", [f"profiles.{name}.model='{folder}'" for name in ("sd15", "sdxl")])


def test_weights_are_looked_for_and_never_loaded(folder: Path) -> None:
    assert doctor.missing_weights(str(folder)) is None
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    assert doctor.missing_weights(str(folder)) == f"{folder} has no unet/*.safetensors"
    (folder / "model_index.json").unlink()
    assert doctor.missing_weights(str(folder)) == f"{folder} has no model_index.json"
    assert doctor.missing_weights("/no/where") == "there is no folder /no/where"
    assert doctor.missing_weights("nobody/has-this") == "not in the Hugging Face cache"


def test_auto_without_weights_asks_for_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def torch_would_be_imported() -> None:
        raise AssertionError

    monkeypatch.setattr(doctor, "gpu", torch_would_be_imported)
    recipe = load("pick-style", [f"profiles.{name}.model='nobody/has-this'" for name in ("sd15", "sdxl")])
    assert doctor.choose(recipe, "auto") == ("embedded", "no weights of sdxl or sd15 on this machine")


@pytest.mark.parametrize(
    ("card", "profile", "reason"),
    [
        (None, "embedded", "no CUDA GPU"),
        (("small", 4.0), "embedded", "too small"),
        (("middle", 8.0), "sd15", "has room"),
        (("large", 80.0), "sdxl", "has room"),
    ],
)
def test_auto_takes_what_the_gpu_has_room_for(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe, card: tuple[str, float] | None, profile: str, reason: str
) -> None:
    monkeypatch.setattr(doctor, "gpu", lambda: card)
    chosen, why = doctor.choose(recipe, "auto")
    assert chosen == profile
    assert reason in why


def test_a_profile_that_is_asked_for_is_taken_or_refused(recipe: Recipe) -> None:
    assert doctor.choose(recipe, "sd15") == ("sd15", "as asked")
    with pytest.raises(RecipeError, match="has no profile 'sd15'; .*known: embedded"):
        only = recipe.model_copy(update={"profiles": {"embedded": recipe.profile("embedded")}})
        doctor.choose(only, "sd15")
