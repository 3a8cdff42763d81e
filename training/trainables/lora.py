"""LoRA adapters of a U-Net: where they are put, what they start from, and the files that they are saved as.

Two files of the same weights: `pytorch_lora_weights.safetensors`, which `pipe.load_lora_weights(folder)` reads, and
one in the names of kohya's scripts, which ComfyUI, A1111 and Forge read. In both the scale alpha / rank is multiplied
into the second factor, so that they mean the same to whoever passes over an alpha.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from datagen.weights import fit
from training.errors import TrainingError

Targets = Literal["attention", "transformer"]
Factors = Mapping[str, tuple[Tensor, Tensor]]  # by layer: (rank, in) and, its scale multiplied in, (out, rank)
TRAINED, START = "default", "start"  # the names of the adapters: the one that is trained, and the frozen reference's
KOHYA = "pytorch_lora_weights_kohya.safetensors"
# As MaPO's and diffusers' scripts have it, and with the feed-forward layers as many others do.
LAYERS: dict[Targets, tuple[str, ...]] = {"attention": ("to_q", "to_k", "to_v", "to_out.0")}
LAYERS["transformer"] = (*LAYERS["attention"], "ff.net.0.proj", "ff.net.2")
FAMILIES = {False: "sd_v1", True: "sdxl_base_v1-0"}  # what kohya's scripts call the models


def add(unet: Any, *, rank: int, alpha: float, targets: Targets, name: str = TRAINED) -> None:
    """Put untrained adapters into the U-Net; their output is scaled by alpha / rank, by 1 for alpha 0."""
    from peft import LoraConfig

    config = LoraConfig(
        r=rank, lora_alpha=alpha or rank, init_lora_weights="gaussian", target_modules=list(LAYERS[targets])
    )
    with warnings.catch_warnings():  # of a second one, which is what is wanted
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        unet.add_adapter(config, name)
    for weight in unet.parameters():  # peft gives them the precision of the layers that they are put on
        if weight.requires_grad:
            weight.data = weight.data.float()


@torch.no_grad()
def fill(unet: Any, factors: Factors, name: str = TRAINED) -> None:
    """Have the adapters of that name do what the factors do, whatever their own scale."""
    for layer, module in unet.named_modules():
        if name in getattr(module, "lora_A", ()):
            down, up = factors[layer]
            module.lora_A[name].weight.copy_(down)
            module.lora_B[name].weight.copy_(up / module.scaling[name])


def check(unet: Any, factors: Factors, path: Path, *, rank: int, targets: Targets) -> None:
    """Raise TrainingError or ModelError if factors are not of this rank, or not of all these layers and no others."""
    places = {name: set(_layers(unet, name)) for name in LAYERS}
    if factors.keys() != places[targets]:
        if fitting := [name for name, layers in places.items() if layers == factors.keys()]:
            raise TrainingError(
                f"--init-from {path} holds LoRA of the layers of --lora-targets {fitting[0]}: give that, not {targets}"
            )
        ours, theirs = (dict.fromkeys(layers, ()) for layers in (places[targets], factors))
        fit.check(
            f"the LoRA in --init-from {path}",
            fit.compare(ours, theirs),
            remedy=f"give one of the layers of --lora-targets {' or '.join(LAYERS)}",
        )
    ranks = sorted({len(down) for down, _ in factors.values()})
    if ranks != [rank]:
        advice = f"give --lora-rank {ranks[0]}" if len(ranks) == 1 else "give one that has the same in all layers"
        raise TrainingError(
            f"--init-from {path} holds LoRA of rank {' and '.join(map(str, ranks))}, --lora-rank is {rank}: {advice}"
        )


def _layers(unet: Any, targets: Targets) -> Iterator[str]:
    """The layers of the U-Net that these targets are, as peft finds them."""
    ends = LAYERS[targets]
    return (name for name, _ in unet.named_modules() if any(name == e or name.endswith(f".{e}") for e in ends))


def save(unet: Any, folder: Path, *, is_xl: bool) -> None:
    """Write both files."""
    import diffusers
    from diffusers.utils import state_dict_utils
    from peft.utils import get_peft_model_state_dict

    config = unet.peft_config[TRAINED]
    factors: dict[str, Tensor] = get_peft_model_state_dict(unet)
    scale = config.lora_alpha / config.r
    factors = {name: value * scale if "lora_B" in name else value for name, value in factors.items()}
    pipeline: Any = diffusers.StableDiffusionXLPipeline if is_xl else diffusers.StableDiffusionPipeline
    convert: Any = state_dict_utils.convert_state_dict_to_diffusers
    # Which layers have an adapter stands in the file, so that one which has lost some is known.
    facts = {**config.to_dict(), "lora_alpha": config.r}
    pipeline.save_lora_weights(
        str(folder), unet_lora_layers=convert(factors), safe_serialization=True, unet_lora_adapter_metadata=facts
    )
    convert = state_dict_utils.convert_state_dict_to_kohya
    kohya = convert({f"unet.{name}": value.contiguous() for name, value in factors.items()})
    about = {"ss_network_module": "networks.lora", "ss_base_model_version": FAMILIES[is_xl], "format": "pt"}
    about |= {"ss_network_dim": str(config.r), "ss_network_alpha": str(config.r)}
    save_file(kohya, folder / KOHYA, metadata=about)
