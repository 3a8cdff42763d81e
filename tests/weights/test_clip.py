from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from misfits import Change, copy, prefixed, rewrite, without
from safetensors.torch import load_file

from datagen.errors import ModelError
from datagen.weights import clip


@pytest.fixture
def folder(clip_folder: Path, tmp_path: Path) -> Path:
    return copy(clip_folder, tmp_path)


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        clip.load(clip.find(str(folder)), "cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_what_stock_open_clip_loads(clip_folder: Path) -> None:
    network, _, _ = clip.load(clip.find(str(clip_folder)), "cpu")
    held = load_file(clip_folder / "open_clip_model.safetensors")
    assert network.state_dict().keys() == held.keys()
    assert all(torch.equal(value, held[name]) for name, value in network.state_dict().items())
    assert not network.training and not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("resblocks.1."), "24 missing ("),
        (without("logit_scale"), "1 missing (logit_scale)"),
        (prefixed("module.x."), "missing ("),
        (lambda tensors: tensors | {"x": torch.zeros(1)}, "1 unexpected (x)"),
        (lambda t: t | {"visual.positional_embedding": torch.zeros(50, 32)}, "[50, 32] in the file, [17, 32] in the"),
        (lambda t: t | {"positional_embedding": torch.zeros(32, 32)}, "[32, 32] in the file, [77, 32] in the model"),
        (lambda t: t | {"text_projection": torch.zeros(32, 16)}, "1 of another shape (text_projection"),
        (lambda t: t | {"logit_scale": torch.tensor(torch.nan)}, "hold NaN or infinite numbers"),
        (lambda t: {n: v.to(torch.int8) for n, v in t.items()}, "holds I8 numbers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Change, words: str, folder: Path) -> None:
    rewrite(folder, change)
    assert words in refused(folder)


def test_a_folder_that_is_not_whole_is_refused(folder: Path) -> None:
    weights = folder / clip.FILES[1]
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "is cut short" in refused(folder)
    weights.rename(folder / "open_clip_pytorch_model.bin")
    assert "it has no open_clip_model.safetensors" in refused(folder)
    (folder / clip.FILES[0]).write_text("{")
    weights.touch()
    assert "is not JSON" in refused(folder)


@pytest.mark.parametrize("model", ["ViT-L-14/openia", "ViT-L-14", "owner/name", "hf-hub:owner"])
def test_a_name_that_is_none_is_refused_with_the_nearest(model: str) -> None:
    with pytest.raises(ModelError, match="no CLIP model is called .*such as .*ViT"):
        clip.find(model)


def test_weights_are_found_by_what_open_clip_knows_and_pickles_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip.hub, "unreachable", lambda: "")
    got: list[Any] = []

    def download(where: Any) -> str:
        got.append(where)
        return str(tmp_path / "open_clip_pytorch_model.bin")

    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", download)
    monkeypatch.setattr(open_clip.pretrained, "download_pretrained_from_hf", download)
    for model in ("ViT-B-32/laion2b_s34b_b79k", "hf-hub:owner/name"):
        with pytest.raises(ModelError, match="comes as open_clip_pytorch_model.bin, a pickle"):
            clip.load(clip.find(model), "cpu")
    assert got[0]["hf_hub"].startswith("laion/") and got[1] == "owner/name"


def test_a_model_that_cannot_be_downloaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip.hub, "unreachable", lambda: "https://huggingface.co cannot be reached (no route)")

    def fail(where: Any) -> str:
        raise FileNotFoundError("Failed to download\nanything")

    monkeypatch.setattr(open_clip.pretrained, "download_pretrained_from_hf", fail)
    with pytest.raises(ModelError, match="is not in the local cache and cannot be downloaded: .* .no route.; give"):
        clip.load(clip.find("hf-hub:owner/name"), "cpu")


def test_a_folder_is_known_by_its_weights_and_its_settings(folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    known = clip.find(str(folder)).identity
    assert known.startswith("clip@") and clip.find(f"{clip_folder}/").identity == known
    config = json.loads((folder / clip.FILES[0]).read_text())
    config["preprocess_cfg"]["mean"] = [0.4] * 3
    (folder / clip.FILES[0]).write_text(json.dumps(config))
    assert clip.find(str(folder)).identity != known
