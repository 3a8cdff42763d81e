"""Stable Diffusion's safety checker equals diffusers' class, and knows whose embeddings it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import heads
import numpy as np
import open_clip
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from misfits import rewrite
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig

from datagen.errors import ModelError

WIDTH, PROJECTED = 48, 32


def layout(tensors: dict[str, Any]) -> dict[str, Any]:
    """The names of the published file: the tower lies two levels deep."""
    once = {name.replace("vision_model.vision_model.", "vision_model."): value for name, value in tensors.items()}
    return {
        f"vision_model.{name}" if name.startswith("vision_model.") else name: value for name, value in once.items()
    } | {"vision_model.vision_model.embeddings.position_ids": torch.arange(17)[None]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    """A checker's folder, the open_clip folder with its tower, and diffusers' class with it."""
    torch.manual_seed(8)
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": 32,
        "patch_size": 8,
        "hidden_act": "quick_gelu",
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=PROJECTED)).eval()
    with torch.no_grad():
        for weight in checker.parameters():
            weight.copy_(torch.randn_like(weight) * 0.2)
        checker.concept_embeds_weights.uniform_(0.25, 0.35)
        checker.special_care_embeds_weights.uniform_(0.1, 0.2)
    root = tmp_path_factory.mktemp("models")
    checker.save_pretrained(root / "checker")
    rewrite(root / "checker", layout)
    (root / "clip").mkdir()
    model = {
        "embed_dim": PROJECTED,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": WIDTH, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1},
    }
    (root / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
    save_file(into_open_clip(model, checker), root / "clip" / "open_clip_model.safetensors")
    return root / "checker", root / "clip", checker


def into_open_clip(model: dict[str, Any], checker: Any) -> dict[str, Any]:
    """The tensors of an open_clip model with the checker's tower."""
    tensors = open_clip.model.CLIP(**model).state_dict()
    theirs = {name.replace("vision_model.", ""): value for name, value in checker.state_dict().items()}
    for name in [name for name in tensors if name.startswith("visual.transformer")]:
        _, _, _, layer, *rest = name.split(".")
        where = f"encoder.layers.{layer}"
        module, kind = ".".join(rest[:-1]), rest[-1]
        if kind.startswith("in_proj"):
            parts = [theirs[f"{where}.self_attn.{part}_proj.{kind.removeprefix('in_proj_')}"] for part in "qkv"]
            tensors[name] = torch.cat(parts)
        else:
            place = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj"}
            place |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
            tensors[name] = theirs[f"{where}.{place[module]}.{kind}"]
    tensors["visual.proj"] = theirs["visual_projection.weight"].T
    tensors["visual.class_embedding"] = theirs["embeddings.class_embedding"]
    tensors["visual.conv1.weight"] = theirs["embeddings.patch_embedding.weight"]
    tensors["visual.positional_embedding"] = theirs["embeddings.position_embedding.weight"]
    for kind in ("weight", "bias"):
        tensors[f"visual.ln_pre.{kind}"] = theirs[f"pre_layrnorm.{kind}"]
        tensors[f"visual.ln_post.{kind}"] = theirs[f"post_layernorm.{kind}"]
    return {name: value.clone().contiguous() for name, value in tensors.items()}


def stated(checker: Any, vectors: Any) -> tuple[Any, Any]:
    """The scores of the concepts by the rule in words, one image after the other, and what diffusers' class says."""
    unit = torch.nn.functional.normalize(torch.from_numpy(vectors))
    cosines, special = (
        (unit @ torch.nn.functional.normalize(table).T).numpy()
        for table in (checker.concept_embeds.detach(), checker.special_care_embeds.detach())
    )
    rows = []
    for mine, care in zip(cosines, special, strict=True):
        more = 0.0
        for cosine, threshold in zip(care, checker.special_care_embeds_weights.tolist(), strict=True):
            if round(float(cosine) - threshold + more, 3) > 0:
                more = 0.01
        thresholds = checker.concept_embeds_weights.tolist()
        rows.append([round(float(c) - t + more, 3) for c, t in zip(mine, thresholds, strict=True)])
    tower, projection = checker.vision_model.forward, checker.visual_projection
    checker.vision_model.forward = lambda pixels: (None, pixels)
    checker.visual_projection = torch.nn.Identity()
    try:
        flags = checker(torch.from_numpy(vectors), np.zeros((len(vectors), 1)))[1]
    finally:
        checker.vision_model.forward, checker.visual_projection = tower, projection
    return np.array(rows), np.array(flags)


def test_equals_the_rule_and_diffusers_flags(folders: Any) -> None:
    folder, clip, checker = folders
    vectors = heads.embeddings(400, PROJECTED)
    found = heads.load("safety_checker", folder, clip).score(vectors, [""] * 400)
    rows, flags = stated(checker, vectors)
    assert found.shape == (400, 18) and 40 < flags.sum() < 360
    near = np.abs(found[:, 1:] - rows)  # a cosine that lies between two roundings may fall to either
    assert near.max() < 1.1e-3 and (near > 1e-6).mean() < 1e-3
    assert np.array_equal(found[:, 0] > 0, flags)
    assert np.array_equal(found[:, 0], found[:, 1:].max(1))


def aimed(judge: Any, cosines: dict[tuple[str, int], float]) -> Any:
    """An embedding with these cosines to those concepts."""
    units = np.stack([judge._head[f"{kind}_embeds"][k] for kind, k in cosines]).astype(float)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    inside = np.linalg.lstsq(units, np.array(list(cosines.values())), rcond=None)[0]
    free = np.linalg.svd(units)[2][-1]
    return (inside + free * np.sqrt(1 - inside @ inside)).astype(np.float32)


@pytest.mark.parametrize(("beyond", "flagged"), [(0.0004, False), (0.0007, True), (-0.002, False)])
def test_scores_are_rounded_to_three_digits(folders: Any, beyond: float, flagged: bool) -> None:
    folder, clip, _ = folders
    judge = heads.load("safety_checker", folder, clip)
    threshold = float(judge._head["concept_embeds_weights"][4])
    vector = aimed(judge, {("concept", 4): threshold + beyond, **{("special_care", k): 0.0 for k in range(3)}})
    said = judge.score(vector[None], [""])[0]
    assert said[5] == pytest.approx(round(beyond, 3), abs=1e-6) and bool(said[5] > 0) is flagged


def test_a_special_concept_makes_those_after_it_and_all_others_stricter(folders: Any) -> None:
    folder, clip, _ = folders
    judge = heads.load("safety_checker", folder, clip)
    threshold = float(judge._head["concept_embeds_weights"][4])
    care = judge._head["special_care_embeds_weights"].astype(float)

    def said(*special: float) -> float:
        wanted = {("special_care", k): care[k] + more for k, more in enumerate(special)}
        return float(judge.score(aimed(judge, {("concept", 4): threshold - 0.006, **wanted})[None], [""])[0, 5])

    assert said(-0.1, -0.1, -0.1) == pytest.approx(-0.006, abs=1e-6)
    assert said(-0.1, -0.1, 0.05) == pytest.approx(0.004, abs=1e-6)
    assert said(-0.1, 0.05, 0.05) == pytest.approx(0.004, abs=1e-6)  # once, not for each
    assert said(-0.1, -0.1, -0.006) == pytest.approx(-0.006, abs=1e-6)
    assert said(-0.1, -0.1, 0.0004) == pytest.approx(-0.006, abs=1e-6)  # rounded to 0: not found


def test_a_score_depends_on_its_image_alone(folders: Any) -> None:
    folder, clip, _ = folders
    heads.refuse_company(heads.load("safety_checker", folder, clip), heads.embeddings(70, PROJECTED))


@pytest.mark.parametrize("half", [True, False])
def test_a_checkpoint_in_half_precision_has_the_same_tower(folders: Any, tmp_path: Path, half: bool) -> None:
    folder, clip, _ = folders
    copied = tmp_path / "checker"
    copied.mkdir()
    (copied / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    changed = {n: v.half() if v.is_floating_point() else v for n, v in tensors.items()}
    if not half:
        changed["vision_model.vision_model.encoder.layers.1.mlp.fc1.bias"][3] += 1
    save_file(changed, copied / "model.safetensors", metadata={"format": "pt"})
    judge = heads.load("safety_checker", copied, clip)
    if half:
        assert np.isfinite(judge.score(heads.embeddings(3, PROJECTED), [""] * 3)).all()
        return
    with pytest.raises(ModelError, match="1 of 32 tensors of its vision tower differ .*resblocks.1.mlp.c_fc.bias"):
        judge.score(heads.embeddings(3, PROJECTED), [""] * 3)


def test_another_clip_is_refused(folders: Any, clip_folder: Path) -> None:
    judge = heads.load("safety_checker", folders[0], clip_folder)
    with pytest.raises(ModelError, match=r"is not the one in open_clip_model.safetensors: \d+ of 32 tensors"):
        judge.score(heads.embeddings(3, PROJECTED), [""] * 3)


def test_a_checkpoint_without_concepts_is_refused(folders: Any, tmp_path: Path) -> None:
    copied = tmp_path / "checker"
    copied.mkdir()
    (copied / "config.json").write_bytes((folders[0] / "config.json").read_bytes())
    tensors = load_file(folders[0] / "model.safetensors")
    del tensors["special_care_embeds"]
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"do not fit: 1 missing \(special_care_embeds\)"):
        heads.load("safety_checker", copied, folders[1])
