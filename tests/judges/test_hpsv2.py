"""HPSv2 equals its definition, from checkpoints as published: a pickle with the tensors under `state_dict`."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import plain_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import hpsv2, views
from datagen.judges.backbones import open_clip as backbone

# ViT-H-14 in small, and one layer of its vision tower at its widths.
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
TRUE = {
    "embed_dim": 1024,
    "vision_cfg": {"image_size": 28, "layers": 1, "width": 1280, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 1},
}
TEXTS = ["a chef", "", "a wizard in the park, red and blue", "a chef"]
SIZES = [(64, 64), (96, 64), (40, 60), (25, 100)]


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


@pytest.fixture(autouse=True)
def architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small architecture in the place of ViT-H-14, known by its name."""
    (tmp_path / "configs").mkdir()
    for name, config in (("tiny-h-14", TINY), ("thin-h-14", TRUE)):
        (tmp_path / "configs" / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "configs")
    monkeypatch.setattr(hpsv2, "ARCHITECTURE", "tiny-h-14")
    yield
    forget()


def forget() -> None:
    judges._load_once.cache_clear()
    hpsv2._find.cache_clear()
    backbone.find.cache_clear()


def tensors(config: dict[str, Any] = TINY) -> dict[str, Any]:
    torch.manual_seed(9)
    network = open_clip.model.CLIP(**config)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    return {name: value.clone().contiguous() for name, value in network.state_dict().items()}


def save(path: Path, state: dict[str, Any]) -> dict[str, str]:
    """A checkpoint as the publisher's training script leaves it, and the options that read it."""
    torch.save({"epoch": 3, "name": "hps", "state_dict": state}, path)
    return {"weights": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.fixture
def published(tmp_path: Path) -> dict[str, str]:
    return save(tmp_path / "HPS_v2.1_compressed.pt", tensors())


def load(**options: Any) -> Any:
    forget()
    return judges.load("hpsv2", options)


def score(judge: Any, images: list[Image.Image], texts: list[str]) -> Any:
    return judge.score(judge.needs.images([judge.needs.view(image) for image in images]), texts)


def letterboxed(image: Image.Image, side: int, antialias: bool) -> Any:
    """As hpsv2 does it: floats, the longer side to `side`, black bars before the colours are normalised."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    pixels = F.to_tensor(image)
    scale = side / max(pixels.shape[1:])
    size = [round(length * scale) for length in pixels.shape[1:]]
    pixels = F.resize(pixels, size, InterpolationMode.BICUBIC, antialias=antialias)
    down, across = side - size[0], side - size[1]
    pixels = F.pad(pixels, [across // 2, down // 2, across - across // 2, down - down // 2], fill=0)
    return F.normalize(pixels, views.CLIP_MEAN, views.CLIP_STD).double().numpy()


def expected(config: dict[str, Any], antialias: bool = True) -> Any:
    t = plain_clip.renamed(tensors(config))
    vision, text = config["vision_cfg"], config["text_cfg"]
    pixels = np.stack([letterboxed(image, vision["image_size"], antialias) for image in pictures()])
    seen = plain_clip.images(t, pixels, vision["width"] // vision["head_width"])
    read = plain_clip.texts(t, open_clip.tokenize(TEXTS).numpy(), text["heads"])
    return plain_clip.cosines(seen, read)


def test_equals_its_definition(published: dict[str, str]) -> None:
    wanted = expected(TINY)
    assert score(load(**published), pictures(), TEXTS) == pytest.approx(wanted, abs=1e-5) and np.ptp(wanted) > 0.01


def test_equals_its_definition_at_the_published_widths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hpsv2, "ARCHITECTURE", "thin-h-14")
    judge = load(**save(tmp_path / "wide.pt", tensors(TRUE)))
    assert score(judge, pictures(), TEXTS) == pytest.approx(expected(TRUE), abs=1e-5)


def test_the_old_resize_is_another_judge(published: dict[str, str]) -> None:
    new, old = load(**published), load(**published, legacy_no_antialias=True)
    assert score(old, pictures(), TEXTS) == pytest.approx(expected(TINY, antialias=False), abs=1e-5)
    assert new.version != old.version and new.needs.identity != old.needs.identity


def test_all_of_a_wide_picture_is_seen(published: dict[str, str]) -> None:
    judge, wide = load(**published), Image.new("RGB", (128, 64))
    marked = wide.copy()
    marked.paste((255, 255, 255), (0, 0, 16, 64))  # outside of what a cut around the middle keeps
    first, second = score(judge, [wide, marked], ["a", "a"])
    assert abs(first - second) > 1e-4
    bars = judge.needs.view(Image.new("RGB", (128, 64), (255, 255, 255)))
    assert bars[0].max() == 0 and bars[16].min() > 0.99  # black before the colours are normalised


def test_the_activation_is_gelu(published: dict[str, str]) -> None:
    network, _ = load(**published).needs._loaded
    assert isinstance(network.visual.transformer.resblocks[0].mlp.gelu, torch.nn.GELU)


def test_half_precision_and_safetensors_are_read_into_fp32(published: dict[str, str], tmp_path: Path) -> None:
    half = {name: value.half() for name, value in tensors().items()}
    wanted = expected(TINY)
    assert score(load(**save(tmp_path / "half.pt", half)), pictures(), TEXTS) == pytest.approx(wanted, abs=5e-3)
    save_file(tensors(), tmp_path / "hps.safetensors")
    judge = load(weights=str(tmp_path / "hps.safetensors"))
    assert score(judge, pictures(), TEXTS) == pytest.approx(wanted, abs=1e-5)


def test_an_open_clip_folder_is_read_through_the_letterbox(clip_folder: Path) -> None:
    judge = load(weights=str(clip_folder))
    assert judge.needs.view == views.letterbox_float(64)
    assert judge.needs.identity != backbone.find(str(clip_folder)).identity
    assert np.isfinite(score(judge, pictures(), TEXTS)).all()


@pytest.mark.parametrize("given", ["2.0", 2.0, "2.1", 2.1])
def test_both_releases_are_looked_for_by_their_names(
    given: Any, published: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path))
    name = {"2.0": "HPS_v2_compressed.pt", "2.1": "HPS_v2.1_compressed.pt"}[str(given)]
    with pytest.raises(ModelError, match=f"the judge hpsv2 needs {name} of the hub's xswu/HPSv2, and .* is not there"):
        load(version=given)
    (tmp_path / "hpsv2").mkdir()
    shutil.copy(published["weights"], tmp_path / "hpsv2" / name)
    assert load(version=given, sha256=published["sha256"]).version.startswith(f"1:{given}:hpsv{given}@")


def test_a_release_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelError, match="option version is .*2.0.* or .*2.1"):
        load(version=3)


class Code:
    def __reduce__(self) -> Any:
        return print, ("code ran",)


WITHOUT = {name: value for name, value in tensors().items() if name != "visual.proj"}
BAD: dict[str, tuple[Any, str]] = {
    "missing": ({"state_dict": WITHOUT}, r"1 missing \(visual.proj\)"),
    "unexpected": (
        {"state_dict": tensors() | {"score_predictor.weight": torch.zeros(1)}},
        "1 unexpected",
    ),
    "another architecture": ({"state_dict": tensors() | {"visual.proj": torch.zeros(48, 16)}}, "1 of another shape"),
    "NaN": ({"state_dict": tensors() | {"logit_scale": torch.tensor(math.nan)}}, "hold NaN or infinite numbers"),
    "no tensors": ({"state_dict": {"a": 3}}, "something else than tensors"),
    "a list": ([1, 2], "holds no tensors"),
    "code": ({"state_dict": tensors(), "hook": Code()}, "something else than weights"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_checkpoint_of_something_else_is_refused_in_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = BAD[case]
    path = tmp_path / "HPS_v2.1_compressed.pt"
    torch.save(content, path)
    judge = load(weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ModelError, match=message) as error:
        score(judge, pictures(), TEXTS)
    assert "\n" not in str(error.value) and "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sha256", "message"),
    [
        ("", "is a pickle, which can run code and is read only if its SHA-256 is known"),
        ("0" * 64, "is damaged or another file: its SHA-256 is"),
        ("0" * 16, "is damaged or another file: its SHA-256 is"),
        ("abc", "option sha256 is 'abc'"),
        ("g" * 64, "option sha256 is"),
    ],
)
def test_a_pickle_needs_the_hash_of_its_publisher(sha256: str, message: str, published: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=message) as error:
        _ = load(weights=published["weights"], sha256=sha256).version
    assert "\n" not in str(error.value)


def test_a_file_that_is_cut_short_is_refused(published: dict[str, str]) -> None:
    path = Path(published["weights"])
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="is damaged or another file"):
        _ = load(**published).version
    with pytest.raises(ModelError, match="something else than weights"):
        score(load(weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest()), pictures(), TEXTS)
