import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from datagen import judges, world
from datagen.errors import ModelError
from datagen.judges.backbones import open_clip as open_clip_backbone
from datagen.judges.backbones import rows as backbone_rows
from datagen.weights import clip
from datagen.world import captions, grammar, render


def choice(model: object) -> dict[str, str]:
    return {"model": str(model)}


def forget() -> None:
    judges._load_once.cache_clear()
    open_clip_backbone.find.cache_clear()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    forget()


def score(judge: Any, pictures: Sequence[Image.Image], texts: Sequence[str]) -> Any:
    """What the judge says of the embeddings of pictures."""
    unique, places = judges.distinct(pictures)
    pixels = [judge.needs.view(one.convert("RGB")) for one in unique]
    return judge.score(judge.needs.images(pixels)[places], texts)


@pytest.fixture
def judge(clip_folder: Path) -> Any:
    return judges.load("clip", choice(clip_folder))


def noise(count: int, size: int = 64) -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in pixels]


TEXTS = ["a chef", "a wizard in the park", "", "red " * 2_000, "Ein Gärtner \U0001f600", "a chef"]


def test_equals_stock_open_clip(judge: Any, clip_folder: Path) -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip_folder}")
    pictures = noise(len(TEXTS))
    with torch.inference_mode():
        seen = model.eval().encode_image(torch.stack([preprocess(one) for one in pictures]), normalize=True)
        read = model.encode_text(tokenizer(TEXTS), normalize=True)
    expected = (seen * read).sum(-1).double().numpy()
    scores = score(judge, pictures, TEXTS)
    assert scores.dtype == np.float64
    assert scores == pytest.approx(expected, abs=1e-5)
    assert not np.isnan(scores).any() and np.abs(scores).max() <= 1 + 1e-9


def test_a_score_does_not_depend_on_its_company(judge: Any, clip_folder: Path) -> None:
    pictures, texts = (
        noise(backbone_rows.BATCH + 3),
        [f"a ball number {k}" for k in range(backbone_rows.BATCH + 3)],
    )
    together = score(judge, pictures, texts).tolist()
    forget()
    other = judges.load("clip", choice(clip_folder))
    backwards = score(other, pictures[::-1], texts[::-1]).tolist()[::-1]
    forget()
    last = judges.load("clip", choice(clip_folder))
    alone = [score(last, [one], [text])[0] for one, text in zip(pictures[-5:], texts[-5:], strict=True)]
    assert together == backwards
    assert together[-5:] == alone


def test_pictures_are_embedded_once_a_call_and_texts_once_a_process(
    judge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for name in ("encode_image", "encode_text"):
        original = getattr(judge.needs._loaded[0], name)
        monkeypatch.setattr(
            judge.needs._loaded[0], name, lambda x, original=original, name=name: (seen.append(name), original(x))[1]
        )
    one, other = noise(2)
    score(judge, [one, other] * 3, TEXTS)
    score(judge, [one], ["a chef"])
    assert seen == ["encode_image", "encode_text", "encode_image"]


def test_what_is_remembered_of_texts_is_bounded(judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone_rows, "REMEMBERED", 3)
    (picture,) = noise(1)
    first = score(judge, [picture] * 2, ["a", "b"])
    score(judge, [picture] * 2, ["c", "d"])
    assert set(judge.needs.texts._known) == {"c", "d"}
    assert score(judge, [picture] * 2, ["a", "b"]).tolist() == first.tolist()


def test_pictures_of_any_size_and_mode_are_judged(judge: Any) -> None:
    odd = [Image.new("L", (500, 3)), Image.new("RGBA", (1, 1)), Image.new("RGB", (300, 200))]
    assert np.isfinite(score(judge, odd, ["a chef"] * 3)).all()


@pytest.mark.parametrize(("model", "share"), [(str(world.CLIP), 1.0), ("embedded", 0.9)])  # the jury's is weaker
def test_a_model_of_the_world_prefers_the_caption_of_the_picture(model: str, share: float) -> None:
    rng = random.Random(3)
    scenes = [grammar.sample_scene(rng) for _ in range(16)]
    texts = [captions.caption(scene, grammar.ATTRIBUTES, rng) for scene in scenes]
    pictures = [render.render(scene) for scene in scenes]
    judge = judges.load("clip", choice(model))
    right = score(judge, pictures, texts)
    wrong = score(judge, pictures, texts[1:] + texts[:1])
    assert (right > wrong).mean() >= share
    assert judge.version.startswith(f"2:cosine:{Path(model).name}@")


def test_the_version_follows_the_weights_not_their_place(judge: Any, clip_folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(clip_folder, tmp_path / "clip"))
    assert judges.load("clip", choice(copied)).version == judge.version
    forget()
    weights = copied / "open_clip_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert judges.load("clip", choice(copied)).version != judge.version


def test_a_model_is_loaded_once_a_process_and_a_real_one_is_sharper_than_the_embedded(
    judge: Any, clip_folder: Path
) -> None:
    assert judges.load("clip", choice(clip_folder)) is judge
    assert judge.scale == 100.0
    assert judges.load("clip", choice("embedded")).scale == judges.load("clip", {}).scale == 20.0
    assert not judge.facts.absolute


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda f: (f / "open_clip_model.safetensors").unlink(), "it has no open_clip_model.safetensors"),
    "no config": (lambda f: (f / "open_clip_config.json").unlink(), "it has no open_clip_config.json"),
    "config no JSON": (lambda f: (f / "open_clip_config.json").write_text("{"), "is not JSON"),
    "truncated": (
        lambda f: (p := f / "open_clip_model.safetensors").write_bytes(p.read_bytes()[:5_000]),
        "is cut short",
    ),
    "empty": (lambda f: (f / "open_clip_model.safetensors").write_bytes(b""), "is empty"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_is_told_in_one_line(clip_folder: Path, tmp_path: Path, damage: str) -> None:
    harm, message = DAMAGE[damage]
    folder = Path(shutil.copytree(clip_folder, tmp_path / "clip"))
    harm(folder)
    with pytest.raises(ModelError, match=message) as caught:
        judges.load("clip", choice(folder)).score(noise(1), ["a chef"])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_an_unknown_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="no CLIP model is called 'ViT-L-14/openia'; .*ViT-L-14/openai"):
        judges.load("clip", choice("ViT-L-14/openia"))


def test_a_model_that_cannot_be_downloaded_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> str:
        raise OSError("no\nnetwork")

    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", fail)
    monkeypatch.setattr(clip.hub, "unreachable", lambda: "")
    with pytest.raises(ModelError, match="ViT-B-32/laion2b_s34b_b79k .* cannot be downloaded: no network"):
        judges.load("clip", choice("ViT-B-32/laion2b_s34b_b79k")).score(noise(1), ["a chef"])


@pytest.mark.parametrize(
    ("model", "quick"), [("RN50/openai", True), ("RN50-quickgelu/openai", True), ("ViT-B-32/laion2b_s34b_b79k", False)]
)
def test_weights_get_the_activation_that_they_were_trained_with(
    model: str, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def create(name: str, *, force_quick_gelu: bool, **options: Any) -> Any:
        asked.append(force_quick_gelu or "quickgelu" in name)
        raise RuntimeError("enough")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    monkeypatch.setattr(clip, "_weights", lambda source, pretrained: None)
    with pytest.raises(ModelError, match="enough"):
        judges.load("clip", choice(model)).score(noise(1), ["a chef"])
    assert asked == [quick]
