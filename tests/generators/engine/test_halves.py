"""What both halves of a guided batch have in common is computed of one, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datagen import models
from datagen.generators.engine.halves import SharedStart

FOLDERS = {"sd15_folder": "attentions from the first block on", "embedded": "none in the first", "sdxl_folder": "told"}


def unet_of(folder: Path) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("count", [3, 16])
def test_a_half_computes_both_until_the_texts_come(name: str, count: int, request: pytest.FixtureRequest) -> None:
    unet = unet_of(models.find(name).folder if name == "embedded" else request.getfixturevalue(name))
    width, seen = unet.config.cross_attention_dim, dict[str, int]()
    watched = {"in": unet.down_blocks[0].resnets[0].norm1, "out": unet.conv_out}
    for where, layer in watched.items():
        layer.register_forward_pre_hook(lambda _, given, where=where: seen.update({where: len(given[0])}))
    attention = next(m for n, m in unet.named_modules() if n.endswith("attn1"))
    attention.to_q.register_forward_pre_hook(lambda _, given: seen.update({"attn1": len(given[0])}))
    latents = torch.randn(count, unet.config.in_channels, 16, 16)
    texts = torch.randn(2 * count, 9, width)
    is_xl = unet.config.addition_embed_type == "text_time"
    told = {"added_cond_kwargs": {"text_embeds": torch.randn(2 * count, 48), "time_ids": torch.ones(2 * count, 6)}}

    def noise() -> torch.Tensor:
        with torch.inference_mode():
            return unet(torch.cat([latents, latents]), torch.tensor(7), texts, **(told if is_xl else {})).sample

    whole = noise()
    assert seen == {"in": 2 * count, "attn1": 2 * count, "out": 2 * count}
    shared = SharedStart(unet)
    with shared.on(True):
        halved = noise()
    begun = 2 * count if is_xl else count  # SDXL's pooled texts are told to the first layer
    assert seen == {"in": begun, "attn1": begun, "out": 2 * count}
    # A convolution of very few pictures may be summed in another order.
    assert torch.equal(whole, halved) if count == 16 else torch.allclose(whole, halved, atol=1e-5)
    with shared.on(False):  # without guidance the two halves of a batch are different pictures
        assert torch.equal(noise(), whole)
    assert seen["in"] == 2 * count
