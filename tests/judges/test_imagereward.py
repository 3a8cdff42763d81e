"""The judge over ImageReward's network: what it is given, what it reads of it, and what it says is missing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms import v2

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import imagereward as judge_file
from datagen.judges import panel
from datagen.judges.networks import imagereward
from datagen.recipe import JudgeChoice

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "chair", "in", "the", "park", ",", '"']
TEXTS = ["a red chair", "", "the park, in", "red " * 99, "Ein Gärtner", "a red chair"]
SIZES = [(64, 64), (90, 64), (64, 91), (30, 20), (40, 160), (32, 32)]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as one that was fetched, in small."""
    torch.manual_seed(3)
    vision = imagereward.Vision(
        image_size=32, patch_size=8, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    )
    config = imagereward.Config(
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=len(WORDS) + 2,
        max_position_embeddings=40,
        head=(16, 8, 8, 4),
        vision=vision,
    )
    network = imagereward.ImageReward(config)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.mul_(1 if "mlp" in name else 3).add_(torch.randn_like(weight) * 0.05)
    folder = tmp_path_factory.mktemp("imagereward") / "fetched"
    folder.mkdir()
    save_file(dict(imagereward.published(network)), folder / "ImageReward.safetensors")
    (folder / "med_config.json").write_text(json.dumps(config.model_dump()))
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "weights"))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    judges._load_once.cache_clear()
    yield
    judges._load_once.cache_clear()


def load(folder: Path, **options: Any) -> Any:
    return judges.load("imagereward", {"weights": str(folder)} | options)


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


def test_equals_the_network_on_the_references_preprocessing(published: Path) -> None:
    reference = v2.Compose(
        [
            v2.Resize(32, interpolation=v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(32),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    scorer = imagereward.load(imagereward.find(published / "ImageReward.safetensors"), "cpu")
    pixels = torch.stack([reference(picture) for picture in pictures()])
    wanted = scorer.score(scorer.encode(pixels), TEXTS).tolist()
    judge = load(published)
    found = judge.score([judge.needs(picture) for picture in pictures()], TEXTS)
    assert found.dtype == np.float64 and found.tolist() == pytest.approx(wanted, abs=1e-5)
    assert np.ptp(found) > 0.1


def test_each_image_is_seen_once_and_scored_with_every_text(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = load(published)
    views = [judge.needs(picture) for picture in pictures()]
    seen: list[int] = []
    encode = judge._scorer.encode
    monkeypatch.setattr(judge._scorer, "encode", lambda pixels: (seen.append(len(pixels)), encode(pixels))[1])
    images = [views[k % 6] for k in range(40)]
    texts = [f"the red chair {'red ' * (k % 7)}" for k in range(40)]
    together = judge.score(images, texts)
    assert seen == [6]
    alone = [judge.score([image], [text])[0] for image, text in zip(images, texts, strict=True)]
    assert together.tolist() == alone
    assert judge.score([], []).shape == (0,)


def test_the_panel_asks_it_as_any_other(published: Path, tmp_path: Path) -> None:
    file = tmp_path / "it.png"
    pictures()[1].save(file)
    chosen = panel.load([JudgeChoice(name="imagereward", options={"weights": str(published)})])
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    answers = panel.ask(chosen, [panel.Question(path, ("a red chair", "the park")) for path in (file, bad)])
    judge = load(published)
    view = judge.needs(pictures()[1])
    assert (
        answers[0].scores["imagereward"][:, 0].tolist()
        == judge.score([view] * 2, ["a red chair", "the park"]).tolist()
    )
    assert answers[1].error and np.isnan(answers[1].scores["imagereward"]).all()


def test_the_version_follows_the_weights_not_their_place(published: Path, folder: Path) -> None:
    assert load(published).version == load(folder).version
    assert load(published).version.startswith(f"{judge_file.VERSION}:")
    tensors = load_file(folder / "ImageReward.safetensors")
    save_file(tensors | {"mlp.layers.7.bias": torch.ones(1)}, folder / "ImageReward.safetensors")
    judges._load_once.cache_clear()
    assert load(published).version != load(folder).version


def test_what_is_missing_is_said_with_where_it_belongs(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match="the judge imagereward needs ImageReward.pt of THUDM/ImageReward") as caught:
        judges.load("imagereward", {})
    assert f"{tmp_path / 'imagereward'}" in str(caught.value) and "\n" not in str(caught.value)
    shutil.copytree(published, tmp_path / "imagereward")
    assert judges.load("imagereward", {}).version == load(published).version
    file = tmp_path / "imagereward" / "ImageReward.safetensors"
    assert load(file).version == load(published).version
    (tmp_path / "imagereward" / "vocab.txt").rename(tmp_path / "vocab.txt")
    judges._load_once.cache_clear()
    with pytest.raises(ModelError, match="has no vocab.txt"):
        load(file)
    assert load(file, vocabulary=str(tmp_path)).version == load(published).version


def test_a_pickle_needs_its_hash(folder: Path) -> None:
    safe, pickled = folder / "ImageReward.safetensors", folder / "ImageReward.pt"
    torch.save(load_file(safe), pickled)
    digest = hashlib.sha256(pickled.read_bytes()).hexdigest()
    view = load(safe).needs(pictures()[0])
    score = load(safe).score([view], ["a red chair"]).tolist()
    for place in (folder, pickled):
        with pytest.raises(ModelError, match="is a pickle, which can run code and is read only if its SHA-256 is kn"):
            load(place)
    judge = load(folder, sha256=digest)
    assert judge.score([view], ["a red chair"]).tolist() == score and judge.version != load(safe).version
    with pytest.raises(ModelError, match="is damaged or another file"):
        load(folder, sha256="0" * 64).score([view], ["a red chair"])
    for bad in ("0" * 15, "g" * 16, "0" * 65):
        with pytest.raises(ModelError, match="option sha256 is"):
            load(folder, sha256=bad)
