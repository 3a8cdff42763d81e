"""The embedded models are ordinary folders of their libraries, small, safe to load, and they follow captions."""

import random

import numpy as np
import pytest
import torch

from datagen.world import CLIP, JURY, PIPELINE, WEIGHTS
from datagen.world.captions import parse
from datagen.world.grammar import VALUES, sample_scene
from datagen.world.reader import read
from datagen.world.render import render
from datagen.world.train.data import captioned_scene, draw_caption


@pytest.fixture(scope="module")
def pipeline():
    from diffusers import StableDiffusionPipeline

    loaded = StableDiffusionPipeline.from_pretrained(PIPELINE, local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_all_weights_are_safetensors_and_under_25_megabytes_besides_the_jury() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files if JURY not in path.parents) < 25e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt"}


def test_diffusers_loads_the_pipeline_as_it_is_in_full_precision(pipeline) -> None:
    assert type(pipeline).__name__ == "StableDiffusionPipeline"
    assert pipeline.unet.dtype == pipeline.vae.dtype == pipeline.text_encoder.dtype == torch.float32
    assert pipeline.tokenizer.model_max_length == 77


def test_every_word_of_the_world_is_one_token(pipeline) -> None:
    rng = random.Random(0)
    for _ in range(200):
        text = draw_caption(captioned_scene(rng), rng, empty_share=0.0)
        words = text.replace(",", " , ").replace("-", " - ").split()
        assert len(pipeline.tokenizer(text).input_ids) == len(words) + 2, text


def test_the_vae_keeps_every_attribute_of_a_render(pipeline) -> None:
    rng = random.Random(1)
    even = [sample_scene(rng, {name: rng.choice(values) for name, values in VALUES.items()}) for _ in range(48)]
    pixels = pipeline.image_processor.preprocess([render(scene) for scene in even])
    with torch.no_grad():
        rebuilt = pipeline.vae.decode(pipeline.vae.encode(pixels).latent_dist.mean).sample
    shown = read(pipeline.image_processor.postprocess(rebuilt))
    right = [
        s.attributes[name] == getattr(scene, name) for s, scene in zip(shown, even, strict=True) for name in VALUES
    ]
    assert np.mean(right) > 0.985


@pytest.mark.slow
def test_held_out_captions_are_followed(pipeline) -> None:
    rng = random.Random("test captions")
    texts = [draw_caption(captioned_scene(rng), rng, empty_share=0.0) for _ in range(48)]
    noise = [torch.Generator().manual_seed(k) for k in range(len(texts))]
    images = pipeline(texts, num_inference_steps=20, guidance_scale=4.0, generator=noise).images
    stated = [parse(text) for text in texts]
    followed = [all(r.attributes[n] == v for n, v in s.items()) for r, s in zip(read(images), stated, strict=True)]
    assert np.mean(followed) >= 0.85


def test_the_small_clip_prefers_the_right_caption() -> None:
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{CLIP}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{CLIP}")
    model.eval()
    rng = random.Random(2)
    items = [captioned_scene(rng) for _ in range(32)]
    texts = [draw_caption((scene, frozenset(VALUES)), rng, empty_share=0.0) for scene, _ in items]
    with torch.no_grad():
        seen = model.encode_image(torch.stack([preprocess(render(s)) for s, _ in items]), normalize=True)
        said = model.encode_text(tokenizer(texts), normalize=True)
    assert (seen @ said.T).argmax(1).eq(torch.arange(32)).float().mean() >= 0.8
