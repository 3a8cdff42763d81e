"""PickScore equals its definition, on tiny models of the published layout."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plain_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from benchmarks.support.tiny_clip import make_tokenizer, text_config
from datagen import judges
from datagen.errors import ModelError
from datagen.judges.backbones import hf_clip, rows

TEXTS = ["a chef", "", "red " * 200, "Ein Gärtner \U0001f600", "a chef"]
SIZES = [(64, 64), (90, 64), (64, 91), (30, 20), (40, 160)]


def save(
    folder: Path, *, width: int = 32, heads: int = 2, side: int = 32, layers: int = 2, activation: str = "gelu"
) -> Path:
    """PickScore in small: transformers' CLIPModel, the buffers that old versions stored, a scale of its own."""
    torch.manual_seed(1)
    tokenizer = make_tokenizer(77)
    text = text_config(tokenizer, width, layers)
    text.num_attention_heads, text.hidden_act = heads, activation
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=side,
        patch_size=8,
        hidden_act=activation,
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=width)
    model = CLIPModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.1 + (weight.mean() > 0.5).float())
        model.logit_scale.fill_(math.log(73.5))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rewrite(
        folder,
        lambda tensors: (
            tensors
            | {
                "text_model.embeddings.position_ids": torch.arange(77)[None],
                "vision_model.embeddings.position_ids": torch.arange((side // 8) ** 2 + 1)[None],
            }
        ),
    )
    return folder


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("pickscore") / "PickScore_v1")


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "weights"))


def forget() -> None:
    judges._load_once.cache_clear()
    hf_clip.find.cache_clear()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    forget()


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


def load(folder: Path) -> Any:
    return judges.load("pickscore", {"weights": str(folder)})


def score(folder: Path, images: list[Image.Image], texts: list[str]) -> Any:
    judge = load(folder)
    return judge.score(judge.needs.images([judge.needs.view(image) for image in images]), texts)


def expected(folder: Path, images: list[Image.Image], texts: list[str], heads: int = 2, side: int = 32) -> Any:
    """Hugging Face's own preprocessing, and CLIP written out."""
    t = {name: value.double().numpy() for name, value in load_file(folder / "model.safetensors").items()}
    act = {"gelu": plain_clip.gelu, "quick_gelu": plain_clip.quick_gelu}
    config = json.loads((folder / "config.json").read_text())
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=side)
    pixels = np.concatenate([processor(image, return_tensors="np")["pixel_values"] for image in images])
    tokenizer = make_tokenizer(77)
    ids = [tokenizer(text, truncation=True, max_length=77)["input_ids"] for text in texts]
    read = [plain_clip.texts(t, np.array([one]), heads, act[config["text_config"]["hidden_act"]])[0] for one in ids]
    seen = plain_clip.images(t, pixels.astype(float), heads, act[config["vision_config"]["hidden_act"]])
    return np.exp(t["logit_scale"]) * plain_clip.cosines(seen, np.stack(read))


def test_equals_its_definition(published: Path) -> None:
    found, wanted = score(published, pictures(), TEXTS), expected(published, pictures(), TEXTS)
    assert found.dtype == np.float64 and np.ptp(wanted) > 5
    assert found == pytest.approx(wanted, abs=73.5e-5)  # 1e-5 of a cosine


def test_equals_its_definition_at_the_published_widths(tmp_path: Path) -> None:
    wide = save(tmp_path / "wide", width=1280, heads=16, side=16, layers=1)
    images, texts = pictures()[:2], TEXTS[:2]
    assert score(wide, images, texts) == pytest.approx(expected(wide, images, texts, 16, 16), abs=73.5e-5)


def test_the_factor_of_its_cosines_is_the_checkpoints_own(folder: Path) -> None:
    before = score(folder, pictures(), TEXTS)
    rewrite(folder, lambda tensors: tensors | {"logit_scale": torch.tensor(math.log(147.0))})
    forget()
    assert score(folder, pictures(), TEXTS) == pytest.approx(2 * before, rel=1e-6)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_the_activation_is_the_configs(tmp_path: Path, activation: str) -> None:
    folder = save(tmp_path / "clip", activation=activation)
    assert score(folder, pictures(), TEXTS) == pytest.approx(expected(folder, pictures(), TEXTS), abs=73.5e-5)


def test_a_score_does_not_depend_on_its_company(published: Path) -> None:
    images, texts = pictures() * 7, [f"a ball number {k}" for k in range(35)]
    together = score(published, images, texts).tolist()
    forget()
    backwards = score(published, images[::-1], texts[::-1]).tolist()[::-1]
    alone = [float(score(published, [one], [text])[0]) for one, text in list(zip(images, texts, strict=True))[-3:]]
    assert len(images) > rows.BATCH and together == backwards and together[-3:] == alone


def test_the_version_follows_the_weights_not_their_place(published: Path, folder: Path) -> None:
    version = load(published).version
    assert version.startswith("1:pickscore@") and load(folder).version == version
    forget()
    rewrite(folder, lambda tensors: tensors | {"logit_scale": torch.tensor(1.0)})
    assert load(folder).version != version


def test_weights_are_looked_for_in_the_folder_of_its_name(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match="needs the folder of yuvalkirstain/PickScore_v1") as caught:
        judges.load("pickscore", {})
    assert f"{tmp_path / 'pickscore'} is not there" in str(caught.value) and "\n" not in str(caught.value)
    shutil.copytree(published, tmp_path / "pickscore")
    assert judges.load("pickscore", {}).version == load(published).version


def text(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return config | {"text_config": config["text_config"] | changes}


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no weights"),
    "a pickle": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "a pickle can run code"),
    "cut short": (lambda f: (p := f / "model.safetensors").write_bytes(p.read_bytes()[:-9]), "is cut short"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "is empty"),
    "no tokenizer": (lambda f: [p.unlink() for p in f.glob("*token*")], "has no tokenizer"),
    "a broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{"), "holds no tokenizer that can be read"),
    "config no JSON": (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
    "no scale": (
        lambda f: rewrite(f, lambda t: {n: v for n, v in t.items() if n != "logit_scale"}),
        r"1 missing \(logit_scale\)",
    ),
    "something more": (lambda f: rewrite(f, lambda t: t | {"head.weight": torch.zeros(1)}), "1 unexpected"),
    "another width": (
        lambda f: rewrite(f, lambda t: t | {"text_projection.weight": torch.zeros(16, 32)}),
        "of another shape",
    ),
    "NaN": (lambda f: rewrite(f, lambda t: t | {"logit_scale": torch.tensor(math.nan)}), "NaN or infinite"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_told_in_one_line(folder: Path, damage: str) -> None:
    harm, message = DAMAGE[damage]
    harm(folder)
    with pytest.raises(ModelError, match=message) as caught:
        score(folder, pictures(), TEXTS)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "another model": (lambda c: c | {"model_type": "siglip"}, "holds a siglip; clip"),
    "a side that is none": (lambda c: c | {"vision_config": {"image_size": "big"}}, "gives pictures a side of 'big'"),
    "another end of text": (lambda c: text(c, eos_token_id=7), "belong to different models"),
    "fewer words": (lambda c: text(c, vocab_size=20), "of another shape"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_of_something_else_is_told_in_one_line(folder: Path, case: str) -> None:
    change, message = CONFIGS[case]
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ModelError, match=message) as caught:
        score(folder, pictures(), TEXTS)
    assert "\n" not in str(caught.value)
