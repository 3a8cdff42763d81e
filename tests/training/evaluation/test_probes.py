"""The probes: what they say of pictures, and what a user's functions must return."""

from __future__ import annotations

import hashlib
import io
import sys
import types
import urllib.error
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datagen.errors import ModelError, UserError
from training.errors import TrainingError
from training.evaluation import clip, features, probes
from training.evaluation.observations import Observations
from training.evaluation.pictures import Pictures
from training.models.embedded import EMBEDDED
from training.settings.evaluation import ProbeOptions


def flat(*greys: int) -> Pictures:
    """Pictures of one grey each."""
    data = []
    for grey in greys:
        stream = io.BytesIO()
        Image.new("RGB", (64, 64), (grey, grey, grey)).save(stream, "PNG")
        data.append(stream.getvalue())
    return Pictures([str(grey) for grey in greys], data.__getitem__)


def brightness(images: Sequence[Image.Image], *rest: object) -> list[float]:
    return [float(np.asarray(image).mean()) / 255 for image in images]


def shades(images: Sequence[Image.Image]) -> list[dict[str, object]]:
    return [
        {"coat": "light" if b > 0.5 else "dark", "hazard": "none" if b > 0.5 else "smoke"} for b in brightness(images)
    ]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module that dotted paths can name."""
    made = types.ModuleType("somebodys")
    made.__dict__.update(brightness=brightness, shades=shades)
    monkeypatch.setitem(sys.modules, "somebodys", made)
    return made


def loaded(**given: Any) -> probes.Probes:
    plain = {
        "reader": "none", "clip": "none", "features": "none", "toxicity": "none",
        "balance": "coat", "groups": ["light", "dark"],
    }  # fmt: skip
    return probes.load_probes(ProbeOptions(**{**plain, **given}), ["a", "b"], "cpu")


def measure(made: probes.Probes, *greys: int) -> Observations:
    blank = Observations(["a", "b"], [{}, {}], np.arange(len(greys)) % 2)
    return probes.measure(made, flat(*greys), blank, 2, "test")


def test_every_probe_sees_every_picture_in_order(module: types.ModuleType) -> None:
    made = loaded(reader="somebodys:shades", toxicity="somebodys:brightness", judge=["somebodys:brightness"])
    observed = measure(made, 0, 255, 51)
    assert [s["coat"] for s in observed.shown or []] == ["dark", "light", "dark"]
    assert observed.toxicity is not None and observed.toxicity.tolist() == pytest.approx([0, 1, 0.2])
    assert observed.scores["brightness"].tolist() == pytest.approx([0, 1, 0.2])
    assert observed.embeddings is None and observed.features is None


def test_toxicity_can_be_an_attribute_of_the_readers(module: types.ModuleType) -> None:
    observed = measure(loaded(reader="somebodys:shades", toxicity="hazard"), 0, 255)
    assert observed.toxicity is not None and observed.toxicity.tolist() == [1, 0]
    assert measure(loaded(reader="somebodys:shades", toxicity="no such"), 0, 255).toxicity is None
    module.__dict__["shades"] = lambda images: [{"nsfw": b} for b in brightness(images)]
    observed = measure(loaded(reader="somebodys:shades", toxicity="nsfw"), 0, 255, 51)
    assert observed.toxicity is not None and observed.toxicity.tolist() == pytest.approx([0, 1, 0.2])


@pytest.mark.parametrize(
    ("function", "given", "says"),
    [
        (lambda images, *_: [1.0], {"judge": ["somebodys:f"]}, "--judge f gave numbers of shape (1,) for 2 pictures"),
        (
            lambda images, *_: ["x"] * len(images),
            {"judge": ["somebodys:f"]},
            "--judge f gave something else than numbers",
        ),
        (lambda images, *_: [float("inf")] * len(images), {"judge": ["somebodys:f"]}, "finite numbers are accepted"),
        (lambda images: [1.5] * len(images), {"toxicity": "somebodys:f"}, "numbers from 0 to 1 are accepted"),
        (lambda images: [{}], {"reader": "somebodys:f"}, "--reader gave 1 readings of 2 pictures"),
        (lambda images: ["a cat"] * len(images), {"reader": "somebodys:f"}, "--reader must give mappings"),
        (lambda images: np.zeros(3), {"features": "somebodys:f"}, "must give one row of numbers a picture"),
        (lambda images: np.full((2, 3), np.nan), {"features": "somebodys:f"}, "not finite"),
    ],
)
def test_what_a_users_function_returns_is_checked(
    function: Callable[..., Any], given: dict[str, Any], says: str, module: types.ModuleType
) -> None:
    module.__dict__["f"] = function
    with pytest.raises(TrainingError, match="^[^\n]*$") as caught:
        measure(loaded(**given), 0, 255)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"reader": "nosuch:read"}, "--reader 'nosuch:read' cannot be loaded"),
        ({"judge": ["somebodys:nothing"]}, "--judge 'somebodys:nothing' cannot be loaded"),
        ({"clip": "ViT-Z"}, "no CLIP model is called 'ViT-Z'"),
        ({"reader": "clip"}, "--reader clip needs a model"),
        ({"features": "clip"}, "--features clip needs a model"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(given: dict[str, Any], says: str, module: types.ModuleType) -> None:
    with pytest.raises(UserError) as caught:
        loaded(**given)
    assert says in str(caught.value)


def test_a_folder_that_is_not_a_clip_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not an open_clip folder: it has no open_clip_config.json"):
        clip.load(str(tmp_path), "cpu")


def test_the_embedded_clip_scores_judges_and_gives_features() -> None:
    observed = measure(loaded(clip=EMBEDDED, features="clip"), 0, 255, 128)
    assert observed.embeddings is not None and np.linalg.norm(observed.embeddings, axis=1) == pytest.approx([1, 1, 1])
    assert observed.cosines is not None and observed.scores["clip-embedded"].tolist() == pytest.approx(
        observed.cosines.tolist()
    )
    assert observed.features is not None and observed.logits is not None and observed.logits.shape == (3, 2)


def test_clip_as_reader_takes_the_group_whose_text_fits_best() -> None:
    model = clip.load(EMBEDDED, "cpu")
    read = probes.zero_shot(model, "coat", ["violet", "amber"])
    images = list(flat(0, 200).batches(2))[0]
    texts = [[f"{prompt}, {group}" for prompt in ("a chef", "a doctor")] for group in ("violet", "amber")]
    cosines = np.array([(clip.unit(model.images(images)) * model.texts(row)).sum(axis=1) for row in texts])
    assert [r["coat"] for r in read(images, ["a chef", "a doctor"])] == [
        ["violet", "amber"][k] for k in cosines.argmax(axis=0)
    ]


def test_inception_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def offline(*given: object, **more: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(TrainingError, match="^[^\n]*or use --features clip$"):
        features.choose("inception", "cpu", None, [])
    assert features.choose("auto", "cpu", None, []) is None
    assert features.choose("auto", "cpu", clip.load(EMBEDDED, "cpu"), ["a"]).name == "clip-embedded"  # type: ignore[union-attr]
    features.weights().write_bytes(b"something else")
    with pytest.raises(ModelError, match="damaged or another file"):
        features.choose("auto", "cpu", None, [])


@pytest.mark.slow
def test_inceptions_features_are_those_of_its_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)  # random weights
    torch.save({}, tmp_path / "weights.pth")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(features, "_prefix", lambda: digest[:8])
    extractor = features.inception(tmp_path / "weights.pth", "cpu")
    images = list(flat(10, 200).batches(2))[0]
    rows, logits = extractor.extract(images)
    assert rows.shape == (2, 2048) and logits is not None and logits.shape == (2, 1008)
    alone, _ = extractor.extract([images[0], images[1].resize((32, 48))])
    assert alone[0] == pytest.approx(rows[0], abs=1e-5)


def test_weights_that_hold_code_are_refused(tmp_path: Path) -> None:
    torch.save({"x": Path("/")}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="damaged or another file"):
        features.inception(tmp_path / "weights.pth", "cpu")
