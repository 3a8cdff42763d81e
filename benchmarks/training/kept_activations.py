"""Activations that a step saves for the backward pass, at the true shapes of SD1.5 and SDXL: stock, and ours.

Counted on tensors without contents, so that it needs neither weights nor a GPU: one pair of images in float32, the
bytes that autograd saves besides the U-Net's own weights. `full`: all weights are trained (MaPO, DPO). `frozen`: the
text alone carries gradients (LiVO); LoRA adapters keep somewhat more. No checkpointing.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.support.results import Row, record
from training.models import activations, attention

SD15 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def kept(unet: Any) -> float:
    """GiB that are saved in a prediction for a pair."""
    weights = {weight.untyped_storage()._cdata for weight in unet.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    size, width = unet.config.sample_size, unet.config.cross_attention_dim
    added = {"text_embeds": torch.randn(2, 1280), "time_ids": torch.randn(2, 6)}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = unet(
            torch.randn(2, 4, size, size),
            torch.randint(1000, (2,)),
            torch.randn(2, 77, width, requires_grad=True),
            added_cond_kwargs=added if unet.config.addition_embed_type else None,
        )
    del output  # it held what was saved, so that no storage took the place of another
    return sum(saved.values()) / 2**30


def main() -> None:
    """Print a line for each model and way of training."""
    argparse.ArgumentParser(
        prog="python -m benchmarks kept_activations", description=__doc__.splitlines()[0], allow_abbrev=False
    ).parse_args()
    print("| U-Net | trained | stock diffusers, GiB a pair | ours | less |\n|---|---|---|---|---|")
    rows = []
    for name, shape in (("SD1.5, 512 px", SD15), ("SDXL, 1024 px", SDXL)):
        for trained in (True, False):
            with FakeTensorMode():
                unet: Any = UNet2DConditionModel(**shape).requires_grad_(trained)
                stock = kept(unet)
                activations.save_memory(unet)
                attention.share_texts(unet)
                ours = kept(unet)
            way = "full" if trained else "frozen"
            print(f"| {name} | {way} | {stock:.2f} | {ours:.2f} | {1 - ours / stock:.0%} |", flush=True)
            what = f"{name}, U-Net {'trained' if trained else 'frozen (LiVO)'}"
            rows += [
                Row(f"{what}, stock diffusers", stock, "GiB a pair"),
                Row(f"{what}, ours", ours, "GiB a pair", note="float32, counted and not run"),
            ]
    record("kept_activations", rows)


if __name__ == "__main__":
    main()
