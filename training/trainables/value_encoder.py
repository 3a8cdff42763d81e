"""The value encoder's weights: a trainable copy of the text encoder(s), or LoRA on them; made, saved, loaded.

A copy is saved as an ordinary transformers folder, LoRA as an ordinary peft folder: `value_encoder/`, and for SDXL's
second encoder `value_encoder_2/`. LoRA copies share the frozen weights with the text encoders they are made of.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from training.errors import TrainingError

FOLDERS = ("value_encoder", "value_encoder_2")
# Every linear layer: at rank 64 this is 1.0 % of all parameters of Stable Diffusion 1.5.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def make(text_encoders: Sequence[Any], *, rank: int) -> list[Any]:
    """Trainable copies of the text encoders, all of their weights (rank 0) or LoRA of that rank.

    SDXL's context is read before the last layer, so what comes after it is not trained.
    """
    xl = len(text_encoders) == 2
    return [_adapter(e, rank, xl) if rank else _copy(e, xl) for e in text_encoders]


def _copy(text_encoder: Any, xl: bool) -> Any:
    made = copy.deepcopy(text_encoder)
    unread = (f"layers.{made.config.num_hidden_layers - 1}.", "final_layer_norm", "text_projection") if xl else ()
    for name, weight in made.named_parameters():
        weight.requires_grad_(not any(part in name for part in unread))
    return made


def _adapter(text_encoder: Any, rank: int, xl: bool) -> Any:
    import peft

    config = peft.LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=list(LORA_TARGETS),
        layers_to_transform=list(range(text_encoder.config.num_hidden_layers - xl)),
    )
    return peft.get_peft_model(_sharing(text_encoder), config)


def _sharing(module: nn.Module) -> Any:
    """A copy of the module around the very same weights: adapters put into one do not show in the other."""
    return copy.deepcopy(module, {id(weight): weight for weight in module.parameters()})


def save(encoders: Sequence[Any], folder: Path) -> None:
    """Write each encoder into its folder, as safetensors."""
    for encoder, name in zip(encoders, FOLDERS, strict=False):
        # `save_embedding_layers` is peft's: left to itself it asks the hub whether the vocabulary has grown.
        words = {"save_embedding_layers": False} if hasattr(encoder, "peft_config") else {}
        encoder.save_pretrained(folder / name, **words)


def load(folder: Path, text_encoders: Sequence[Any]) -> list[Any]:
    """What `save` wrote, for a pipeline with these text encoders. Raises TrainingError if it does not fit.

    `folder` holds `value_encoder/`, or is that folder itself, as the one that LiVO's authors published.
    """
    names = FOLDERS[: len(text_encoders)]
    places = [folder / name for name in names]
    if len(names) == 1 and not places[0].is_dir():
        places = [folder]
    if len(names) == 1 and (folder / FOLDERS[1]).is_dir() or not all(place.is_dir() for place in places):
        raise TrainingError(
            f"no value encoder for this model at {folder}: give what training wrote for the same model, "
            f"with {' and '.join(names)} in it"
        )
    return [_load(place, encoder).eval() for place, encoder in zip(places, text_encoders, strict=True)]


def _load(place: Path, text_encoder: Any) -> Any:
    """One encoder; weights from safetensors only."""
    light = (place / "adapter_config.json").is_file()
    try:
        if not light:
            made = type(text_encoder).from_pretrained(place, use_safetensors=True)
        elif (place / "adapter_model.safetensors").is_file():
            import peft

            with warnings.catch_warnings():  # peft only warns of weights that it did not find
                warnings.filterwarnings("error", message="Found missing adapter keys")
                made = peft.PeftModel.from_pretrained(_sharing(text_encoder), place)
        else:
            raise FileNotFoundError("no adapter_model.safetensors")
    except Exception as error:  # the loaders raise many kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainingError(f"no value encoder that fits at {place}: {first[:200]}") from error
    if made.config.hidden_size != text_encoder.config.hidden_size:
        raise TrainingError(
            f"the value encoder is {made.config.hidden_size} wide, the model's text encoder "
            f"{text_encoder.config.hidden_size}: it was trained on another model"
        )
    return made.to(text_encoder.device)
