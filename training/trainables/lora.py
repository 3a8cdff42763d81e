"""LoRA adapters of a U-Net: where they are put, and the files that they are saved as.

Two files of the same weights: `pytorch_lora_weights.safetensors`, which `pipe.load_lora_weights(folder)` reads, and
one in the names of kohya's scripts, which ComfyUI, A1111 and Forge read. In both the scale alpha / rank is multiplied
into the second factor, so that they mean the same to whoever passes over an alpha.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import Tensor

Targets = Literal["attention", "transformer"]
KOHYA = "pytorch_lora_weights_kohya.safetensors"
# As MaPO's and diffusers' scripts have it, and with the feed-forward layers as many others do.
LAYERS: dict[Targets, tuple[str, ...]] = {"attention": ("to_q", "to_k", "to_v", "to_out.0")}
LAYERS["transformer"] = (*LAYERS["attention"], "ff.net.0.proj", "ff.net.2")
FAMILIES = {False: "sd_v1", True: "sdxl_base_v1-0"}  # what kohya's scripts call the models


def add(unet: Any, *, rank: int, alpha: float, targets: Targets) -> None:
    """Put untrained adapters into the U-Net; their output is scaled by alpha / rank, by 1 for alpha 0."""
    from peft import LoraConfig

    unet.add_adapter(
        LoraConfig(
            r=rank, lora_alpha=alpha or rank, init_lora_weights="gaussian", target_modules=list(LAYERS[targets])
        )
    )


def save(unet: Any, folder: Path, *, is_xl: bool) -> None:
    """Write both files."""
    import diffusers
    from diffusers.utils import state_dict_utils
    from peft.utils import get_peft_model_state_dict

    config = unet.peft_config["default"]
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
