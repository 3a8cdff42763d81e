"""A whole Stable Diffusion 1.5 or XL from a diffusers folder: its parts through the door, in diffusers' own pipeline.

What the parts say of themselves is compared before any weights are read, so that a U-Net that reads more than latents,
or a text encoder of another width, costs nothing but one line.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line
from datagen.weights import files, parts
from datagen.weights.parts import Loaded

# diffusers' classes that hold an SD 1.5 or an XL; whichever it is, its parts draw from text.
FAMILIES = {
    "StableDiffusionPipeline": False,
    "StableDiffusionImg2ImgPipeline": False,
    "StableDiffusionInpaintPipeline": False,
    "StableDiffusionInstructPix2PixPipeline": False,
    "StableDiffusionXLPipeline": True,
    "StableDiffusionXLImg2ImgPipeline": True,
    "StableDiffusionXLInpaintPipeline": True,
}
NETWORKS = {
    "text_encoder": "CLIPTextModel",
    "text_encoder_2": "CLIPTextModelWithProjection",
    "vae": "AutoencoderKL",
    "unet": "UNet2DConditionModel",
}
# Settings of a U-Net by which it reads something else than noised latents, a time and texts.
_EXTRA = {
    "class_embed_type": "classes",
    "num_class_embeds": "classes",
    "time_cond_proj_dim": "the guidance as an embedding, as latent consistency models do",
    "encoder_hid_dim_type": "images or projected texts",
}


@dataclasses.dataclass(frozen=True)
class Index:
    """What the JSON files of a pipeline folder say: the class of model_index.json and the parts' own settings."""

    folder: Path
    pipeline: str
    is_xl: bool
    index: dict[str, Any]
    configs: dict[str, dict[str, Any]]

    @property
    def networks(self) -> list[str]:
        """The parts that have weights."""
        return [name for name in NETWORKS if self.is_xl or name != "text_encoder_2"]

    @property
    def tokenizers(self) -> list[str]:
        return ["tokenizer", "tokenizer_2"] if self.is_xl else ["tokenizer"]

    @property
    def zeros_for_empty(self) -> bool:
        """Whether the pipeline's unconditional branch is zeros rather than the empty text (SDXL's usual rule)."""
        return self.is_xl and bool(self.index.get("force_zeros_for_empty_prompt", True))


def read(folder: Path) -> Index:
    """The settings of a pipeline folder, once they fit together and all files of weights are there and whole.

    Reads no weights. Raises ModelError, one line.
    """
    index = files.read_index(folder)
    pipeline = str(index.get("_class_name"))
    if pipeline not in FAMILIES:
        raise ModelError(f"{folder} is a {pipeline}; Stable Diffusion 1.5 or XL is accepted")
    is_xl = FAMILIES[pipeline]
    found = Index(folder, pipeline, is_xl, index, {})
    for name in found.networks:
        if index.get(name) in (None, [None, None]) or not (folder / name).is_dir():
            raise ModelError(f"the model at {folder} has no {name}: {files.AGAIN}")
        found.configs[name] = files.read_json(folder / name / "config.json")
        files.find(folder / name).entries()  # only their names and sizes: whether all is there
    try:
        _check(found)
    except (TypeError, ValueError, AttributeError) as error:  # a text or a list where a number belongs
        raise ModelError(f"the settings of {folder} are not a model's ({one_line(error)}): {files.AGAIN}") from error
    return found


def load(folder: Path, *, dtype: Any = None) -> Loaded:
    """The pipeline of a folder on the CPU as `dtype` (None: float32), without safety checker and watermark.

    The safety checker blacks out what an `avoid` principle must show as rejected; the watermark depends on what else
    is installed. Raises ModelError.
    """
    import diffusers

    found = read(folder)
    networks, notes = load_networks(found, dtype=dtype)
    made: dict[str, Any] = {**networks, **tokenizers(found), "scheduler": parts.scheduler(folder / "scheduler")}
    if found.is_xl:
        made |= {"force_zeros_for_empty_prompt": found.zeros_for_empty, "add_watermarker": False}
        return Loaded(diffusers.StableDiffusionXLPipeline(**made), notes)
    made |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return Loaded(diffusers.StableDiffusionPipeline(**made), notes)


def load_networks(found: Index, *, dtype: Any = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The networks of a pipeline by their names, and what is to be said of them. Raises ModelError."""
    import diffusers
    import transformers

    loaded = {
        name: parts.load(
            getattr(diffusers, kind, None) or getattr(transformers, kind), found.folder / name, dtype=dtype
        )
        for name, kind in NETWORKS.items()
        if name in found.networks
    }
    notes = tuple(note for it in loaded.values() for note in it.notes)
    for variant in sorted({it.variant for it in loaded.values()} - {""}):
        names = ", ".join(name for name, it in loaded.items() if it.variant == variant)
        notes += (f"{names} of {found.folder}: read from the variant {variant}, as there is no other",)
    return {name: it.model for name, it in loaded.items()}, notes


def tokenizers(found: Index) -> dict[str, Any]:
    """The tokenizers by their names; none gives ids that its text encoder lacks. Raises ModelError."""
    made = {}
    for name in found.tokenizers:
        config = _text(found.configs[name.replace("tokenizer", "text_encoder")])
        made[name] = parts.tokenizer(found.folder / name, int(config.get("max_position_embeddings", 77)))
        if len(made[name]) > (size := int(config.get("vocab_size", 49408))):
            raise ModelError(
                f"{name} in {found.folder} has {len(made[name])} words, its text encoder {size}: they belong to "
                "different models"
            )
    return made


def _check(found: Index) -> None:
    """Raise ModelError where the settings of the parts do not fit together, or ask for what is not text to image."""
    unet, vae = found.configs["unet"], found.configs["vae"]
    where, channels = f"the U-Net in {found.folder}", vae.get("latent_channels", 4)
    read, made = unet.get("in_channels", 4), unet.get("out_channels", 4)
    if (read, made) != (channels, channels):
        raise ModelError(
            f"{where} reads {read} channels and gives {made}, the VAE's latents have {channels}: a model for "
            "inpainting, editing or upscaling is not accepted, give one that draws from text"
        )
    if extra := next((_EXTRA[name] for name in _EXTRA if unet.get(name)), None):
        raise ModelError(f"{where} reads {extra} besides text: give a plain Stable Diffusion 1.5 or XL")
    encoders = [_text(found.configs[name]) for name in found.networks if name.startswith("text_encoder")]
    width = sum(encoder.get("hidden_size", 512) for encoder in encoders)
    wanted = unet.get("cross_attention_dim", 1280)
    if wanted != width:
        raise ModelError(
            f"{where} reads texts of width {wanted}, the text encoder{'s' * found.is_xl} beside it "
            f"give{'s' * (not found.is_xl)} {width}: they belong to different models"
        )
    _check_added(where, found.is_xl, unet, encoders[-1])
    _check_latents(found, vae)


def _check_added(where: str, is_xl: bool, unet: dict[str, Any], encoder: dict[str, Any]) -> None:
    """SDXL's U-Net reads the pooled text and six numbers; SD 1.5's nothing of the kind."""
    added = unet.get("addition_embed_type")
    if added != ("text_time" if is_xl else None):
        raise ModelError(
            f"{where} reads {added or 'nothing'} besides the text, which does not fit "
            f"Stable Diffusion {'XL' if is_xl else '1.5'}: give a whole model of one family"
        )
    if not is_xl:
        return
    numbers = unet.get("projection_class_embeddings_input_dim", 0) - encoder.get("projection_dim", 512)
    if numbers != 6 * unet.get("addition_time_embed_dim", 0):
        raise ModelError(
            f"{where} reads other numbers besides the pooled text than the two sizes and the crop of SDXL: a refiner "
            "is not accepted, give the base model"
        )


def _check_latents(found: Index, vae: dict[str, Any]) -> None:
    """A VAE's shift is read by no pipeline of these families, its mean and deviation by SDXL's alone."""
    mean, deviation = vae.get("latents_mean"), vae.get("latents_std")
    unread = [] if found.is_xl else [name for name in ("latents_mean", "latents_std") if vae.get(name)]
    unread += ["shift_factor"] * bool(vae.get("shift_factor"))
    if unread or (mean is None) != (deviation is None):
        names = " and ".join(unread) or "only one of latents_mean and latents_std"
        raise ModelError(
            f"the VAE in {found.folder} has {names}, which {found.pipeline} does not read: give the VAE of this family"
        )


def _text(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of the text encoder itself, where a whole CLIP's are given."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config
