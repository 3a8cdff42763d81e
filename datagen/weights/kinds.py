"""What weights are that no picture can be drawn from by themselves: told by names and shapes, before any are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from datagen.errors import ModelError
from datagen.weights import files

_LORA = re.compile(r"lora_(up|down|[ABab]|unet|te)|\.lora\.|hada_|lokr_|dora_scale|\.oft_")
_ALONE = "give a whole model"
# Expression for a name of a tensor → what a file that has one is, and what to do with it.
_FILES = (
    (_LORA.pattern, "a LoRA", "name it in the profile's adapters, and as model the one that it was trained on"),
    (
        r"^control_model\.|^input_hint_block|controlnet_cond_embedding|^controlnet_|zero_convs\.",
        "a ControlNet",
        "which draws from a second picture: give the model that it belongs to",
    ),
    (r"^(string_to_param|emb_params$|clip_[lg]$|<.+>$)", "a textual inversion", "which is no model: " + _ALONE),
    (r"^ip_adapter\.|^image_proj\.", "an IP-Adapter", "which draws from a second picture: " + _ALONE),
    (r"motion_modules\.", "a motion module of AnimateDiff", _ALONE),
    (r"^edm_mean$", "a Playground v2.5", "whose noise this file does not describe: give its diffusers folder"),
    (r"double_blocks\.\d+\.img_attn", "a FLUX", "which is read from its diffusers folder: give that"),
    (r"joint_blocks\.\d+\.", "a Stable Diffusion 3", "which is read from its diffusers folder: give that"),
)
# Class of a folder's config.json → what it is.
_PARTS = {
    "UNet2DConditionModel": "a U-Net alone",
    "AutoencoderKL": "a VAE alone",
    "ControlNetModel": "a ControlNet",
    "ControlNetUnionModel": "a ControlNet",
    "T2IAdapter": "a T2I-Adapter",
    "MotionAdapter": "a motion module of AnimateDiff",
}
# Words of a pipeline's class → what it draws from besides a text.
_PIPELINES = (
    ("Upscale", "an upscaler, which enlarges pictures"),
    ("ControlNet", "a pipeline with a ControlNet, which draws from a second picture"),
    ("Adapter", "a pipeline with a T2I-Adapter, which draws from a second picture"),
    ("Depth2Img", "a model that draws from a picture's depth"),
    ("ImageVariation", "a model of image variations, which reads no text"),
    ("Edit", "a model that edits pictures"),
    ("Pix2Pix", "a model that edits pictures"),
    ("Kontext", "a model that edits pictures"),
    ("Inpaint", "a model for inpainting"),
    ("Img2Img", "a model that redraws pictures"),
    ("Video", "a model of videos"),
    ("Prior", "the first half of a model, which draws no pictures"),
)
_CHANNELS = {7: "an upscaler", 8: "a model that edits pictures (InstructPix2Pix)", 9: "a model for inpainting"}
_CHANNELS |= {5: "a model that draws from a picture's depth"}


def refuse_file(path: Path, entries: Mapping[str, files.Entry]) -> None:
    """Raise ModelError for a file whose tensors are something else than a whole Stable Diffusion in one file."""
    for expression, what, advice in _FILES:
        if any(re.search(expression, name) for name in entries):
            raise ModelError(f"{path} is {what}, {advice}")
    first = entries.get("model.diffusion_model.input_blocks.0.0.weight")
    if first is not None and (kind := _CHANNELS.get(first.shape[1])):
        raise ModelError(
            f"{path} is {kind}, whose U-Net reads {first.shape[1]} channels: give one that draws from text"
        )
    if any(name.startswith("conditioner.embedders.0.model.") for name in entries):
        raise ModelError(f"{path} is SDXL's refiner, which finishes what the base model drew: give the base model")
    if first is None or not any(name.startswith(("cond_stage_model.", "conditioner.")) for name in entries):
        raise ModelError(f"{path} is {_part(entries)}: {_ALONE}, in one file or as a diffusers folder")


def refuse_folder(folder: Path) -> None:
    """Raise ModelError for a folder without model_index.json, saying what it holds instead."""
    where = f"{folder} is not a diffusers folder, it has no model_index.json"
    if (folder / "config.json").is_file():
        name = str(files.read_json(folder / "config.json").get("_class_name", "one network"))
        advice = "name it as the profile's vae, and a whole model as model" if name == "AutoencoderKL" else _ALONE
        raise ModelError(f"{where}: it holds {_PARTS.get(name, f'a {name} alone')}; {advice}")
    single = sorted(folder.glob("*.safetensors"))
    if (folder / "pytorch_lora_weights.safetensors").is_file() or (folder / "adapter_config.json").is_file():
        raise ModelError(f"{where}: it holds a LoRA; {_FILES[0][2]}")
    if (folder / "value_encoder").is_dir():
        raise ModelError(f"{where}: it holds a value encoder; {_FILES[0][2]}")
    if single:
        raise ModelError(f"{where}: if {files.named(path.name for path in single)} is a whole model, give that file")
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in files.PICKLES)
    if pickles:
        raise ModelError(f"{where}; {files.named(pickles)}: {files.CONVERT}")
    raise ModelError(f"{where}: {files.AGAIN}")


def pipeline(name: str) -> str:
    """What a pipeline of diffusers draws from besides a text, "" if from a text alone."""
    return next((what for word, what in _PIPELINES if word in name), "")


def reads(channels: int) -> str:
    """What a U-Net is that reads so many channels where the latents have four."""
    return _CHANNELS.get(channels, "a model for inpainting, editing or upscaling")


def _part(entries: Mapping[str, files.Entry]) -> str:
    """What a file holds that is not whole."""
    starts = {name.split(".")[0] for name in entries}
    if starts & {"down_blocks", "up_blocks", "mid_block"} or starts == {"model"}:
        return "a U-Net alone"
    if starts <= {"encoder", "decoder", "quant_conv", "post_quant_conv", "first_stage_model", "loss"}:
        return "a VAE alone (name it as the profile's vae)"
    if starts & {"text_model", "cond_stage_model", "conditioner", "text_projection"}:
        return "a text encoder alone"
    return f"no model that is known here (it holds {files.named(entries)})"
