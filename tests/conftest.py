"""Tiny models of the true architectures, saved to folders as a user would have them; built once a session."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from browser import browser  # noqa: F401 - a fixture of all tests

from benchmarks.support.tiny_clip import NOISE, make_tokenizer, text_config

# Whoever starts the tests in the background of a script has Ctrl-C ignored, for them and their children; some send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


# A property is about values: how long one takes depends on what else the machine does.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(scope="session", autouse=True)
def weights_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the session's own for the digests of weights."""
    folder = tmp_path_factory.mktemp("weights-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAGEN_WEIGHTS_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def hub_as_it_was() -> Iterator[None]:
    """That a test found no hub is forgotten after it, so that the next may serve one of its own."""
    before = os.environ.get("HF_HUB_OFFLINE")
    yield
    found = os.environ.pop("HF_HUB_OFFLINE", None)
    if before is not None:
        os.environ["HF_HUB_OFFLINE"] = before
    # Also where the test put the variable back itself: it may have been the first to import what reads it once.
    constants = sys.modules.get("huggingface_hub.constants")
    if found == before and (constants is None or constants.HF_HUB_OFFLINE == (before == "1")):
        return
    if constants is not None:
        constants.HF_HUB_OFFLINE = before == "1"
    if hub := sys.modules.get("datagen.weights.hub"):
        hub.unreachable.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=64,
    )


@pytest.fixture(scope="session")
def sd15_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion 1.5 in small: the same classes, the same layout on disk, PNDM as its own scheduler."""
    import torch
    from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    tokenizer = make_tokenizer(77)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=32,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=8,
    )
    pipeline = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(text_config(tokenizer, 32, 3)),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=PNDMScheduler(skip_prk_steps=True, **NOISE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder = tmp_path_factory.mktemp("models") / "sd15"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion XL in small: two text encoders, pooled text and image sizes as added embeddings, Euler."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    tokenizer = make_tokenizer(77)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=32 + 48,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 48,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=_vae(),
        unet=unet,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        text_encoder=CLIPTextModel(text_config(tokenizer, 32, 3)),
        text_encoder_2=CLIPTextModelWithProjection(text_config(tokenizer, 48, 3)),
        scheduler=EulerDiscreteScheduler(timestep_spacing="leading", **NOISE),
    )
    folder = tmp_path_factory.mktemp("models") / "sdxl"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small open_clip model with random weights in the folder layout that `local-dir:` loads."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    tokenizer = make_tokenizer(77)
    model_cfg = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": len(tokenizer),
            "width": 32,
            "heads": 2,
            "layers": 2,
            "hf_tokenizer_name": "clip",
        },
    }
    preprocess_cfg = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    folder = tmp_path_factory.mktemp("models") / "clip"
    tokenizer.save_pretrained(folder)
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    state = open_clip.model.CLIP(**model_cfg).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "open_clip_model.safetensors")
    return folder
