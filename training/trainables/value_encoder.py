"""The value encoder's weights: a trainable copy of the text encoder(s), or LoRA on them; made and saved.

A copy is saved as an ordinary transformers folder, LoRA as an ordinary peft folder: `value_encoder/`, and for SDXL's
second encoder `value_encoder_2/`; weights/value_pipeline.py loads them. LoRA copies share the frozen weights with the
text encoders they are made of.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from datagen.weights import fit, value_pipeline
from datagen.weights.value_pipeline import FOLDERS, copy_sharing_weights
from training.errors import TrainingError

# Every linear layer: at rank 64 this is 1.0 % of all parameters of Stable Diffusion 1.5.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
# Ends the copy of weights/value_pipeline.py that is saved: diffusers wants exactly one class of pipelines in the file.
CUSTOM_PIPELINE = '''

from diffusers import {stock}  # noqa: E402


class ValuePipeline(WithValues, {stock}):
    """{stock} that takes `principle=` after `load_value_encoder`."""
'''


def make(text_encoders: Sequence[Any], *, rank: int, start: Sequence[Any] = (), path: Path | None = None) -> list[Any]:
    """Trainable copies of the text encoders, all of their weights (rank 0) or LoRA of that rank.

    With `start`, value encoders that were loaded from `path`, they are copies of these. SDXL's context is read before
    the last layer, so what comes after it is not trained. Raises TrainingError or ModelError for a start of another
    kind, rank or layers.
    """
    xl = len(text_encoders) == 2
    ranks = {rank_of(encoder) for encoder in start}
    if start and ranks != {rank}:
        held = f"LoRA of rank {' and '.join(map(str, sorted(ranks)))}" if any(ranks) else "all weights"
        advice = f"give --encoder-rank {min(ranks)}" if any(ranks) else "leave it out"
        raise TrainingError(f"--init-from {path} is a value encoder of {held}, --encoder-rank is {rank}: {advice}")
    if not rank:
        return [_copy(encoder, xl) for encoder in start or text_encoders]
    made = [_adapter(encoder, rank, xl) for encoder in text_encoders]
    for ours, theirs in zip(made, start, strict=False):
        _take_over(ours, theirs, path)
    return made


def rank_of(encoder: Any) -> int:
    """LoRA's rank of a value encoder; 0: all of its weights are its own."""
    return int(encoder.peft_config["default"].r) if hasattr(encoder, "peft_config") else 0


@torch.no_grad()
def _take_over(ours: Any, theirs: Any, path: Path | None) -> None:
    """Have one LoRA do what another does, whatever their scales. Raises ModelError if it is of other layers."""
    own, given = ({n: p for n, p in e.named_parameters() if ".lora_" in n} for e in (ours, theirs))
    shapes = ({name: tuple(value.shape) for name, value in held.items()} for held in (own, given))
    what = f"the value encoder in --init-from {path}"
    fit.check(what, fit.compare(*shapes), remedy="give one of the same layers, as training writes it")
    scales = {name: module.scaling["default"] for name, module in theirs.named_modules() if hasattr(module, "scaling")}
    for name, weight in own.items():  # whose own scale is 1
        layer, _, half = name.partition(".lora_")
        weight.copy_(given[name] * (scales[layer] if half.startswith("B") else 1.0))


def _copy(text_encoder: Any, xl: bool) -> Any:
    encoder = copy.deepcopy(text_encoder)
    unread = (f"layers.{encoder.config.num_hidden_layers - 1}.", "final_layer_norm", "text_projection") if xl else ()
    for name, weight in encoder.named_parameters():
        weight.requires_grad_(not any(part in name for part in unread))
    return encoder


def _adapter(text_encoder: Any, rank: int, xl: bool) -> Any:
    import peft

    config = peft.LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=list(LORA_TARGETS),
        layers_to_transform=list(range(text_encoder.config.num_hidden_layers - xl)),
    )
    return peft.get_peft_model(copy_sharing_weights(text_encoder), config)


def save(encoders: Sequence[Any], folder: Path) -> None:
    """Write each encoder into its folder, as safetensors, and `pipeline.py`, which needs nothing of this project."""
    for encoder, name in zip(encoders, FOLDERS, strict=False):
        # `save_embedding_layers` is peft's: left to itself it asks the hub whether the vocabulary has grown.
        words = {"save_embedding_layers": False} if hasattr(encoder, "peft_config") else {}
        encoder.save_pretrained(folder / name, **words)
    stock = "StableDiffusionXLPipeline" if len(encoders) == 2 else "StableDiffusionPipeline"
    source = Path(value_pipeline.__file__).read_text(encoding="utf-8-sig")
    (folder / "pipeline.py").write_text(source + CUSTOM_PIPELINE.format(stock=stock), encoding="utf-8")
