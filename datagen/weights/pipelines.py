"""A whole Stable Diffusion 1.5, 2 or XL, of a folder or one file: its parts through the door, in a stock pipeline.

What the parts say of themselves is compared before any weights are read, so that a U-Net that reads more than latents,
or a text encoder of another width, costs nothing but one line.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line
from datagen.weights import files, held, kinds, parts, single_file, vaes
from datagen.weights.parts import Loaded

# diffusers' classes that draw from text with an SD 1.5, 2 or XL → whether it is an XL.
FAMILIES = {
    "StableDiffusionPipeline": False,
    "StableDiffusionXLPipeline": True,
    "LatentConsistencyModelPipeline": False,
}
# What a profile may say that a model predicts → the settings of a scheduler for it.
PREDICTIONS: dict[str, dict[str, Any]] = {
    "epsilon": {"prediction_type": "epsilon"},
    "v": {"prediction_type": "v_prediction"},
    "v-zero-snr": {"prediction_type": "v_prediction", **single_file.ZERO_SNR},
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
    "encoder_hid_dim_type": "images or projected texts",
}


@dataclasses.dataclass(frozen=True)
class Index:
    """What a model says of itself, in JSON or by its tensors' shapes: diffusers' class, the parts' own settings."""

    folder: Path
    pipeline: str
    is_xl: bool
    index: dict[str, Any]
    configs: dict[str, dict[str, Any]]
    single: single_file.SingleFile | None = None  # where `folder` is one file

    @property
    def networks(self) -> list[str]:
        """The parts that have weights; one file may come without a VAE."""
        if self.single:
            return [name for name in NETWORKS if name in self.single.configs]
        return [name for name in NETWORKS if self.is_xl or name != "text_encoder_2"]

    @property
    def tokenizers(self) -> list[str]:
        return ["tokenizer", "tokenizer_2"] if self.is_xl else ["tokenizer"]

    @property
    def zeros_for_empty(self) -> bool:
        """Whether the pipeline's unconditional branch is zeros rather than the empty text (SDXL's usual rule)."""
        return self.is_xl and bool(self.index.get("force_zeros_for_empty_prompt", True))


def read(folder: Path) -> Index:
    """The settings of a pipeline folder or file, once they fit together and all weights are there and whole.

    Reads no weights. Raises ModelError, one line.
    """
    found = _read_file(folder) if folder.is_file() else _read_folder(folder)
    try:
        _check(found)
    except (TypeError, ValueError, AttributeError) as error:  # a text or a list where a number belongs
        raise ModelError(f"the settings of {folder} are not a model's ({one_line(error)}): {files.AGAIN}") from error
    return found


def load(
    folder: Path, *, dtype: Any = None, vae: Path | None = None, prediction: str = "", hold: bool = False
) -> Loaded:
    """The pipeline of a folder or file on the CPU as `dtype` (None: float32), without safety checker and watermark.

    `vae` is a folder or file of one to take in the place of its own, `prediction` as `scheduler` has it. `hold` keeps
    large networks as they are stored, and on the CPU: see `held`. The safety checker blacks out what an `avoid`
    principle must show as rejected; the watermark depends on what else is installed. Raises ModelError.
    """
    import diffusers

    found = read(folder)
    made: dict[str, Any] = {"scheduler": scheduler(found, prediction), **tokenizers(found)}
    networks, notes = load_networks(found, dtype=dtype, vae=vae, hold=hold)
    made |= networks
    if found.is_xl:
        made |= {"force_zeros_for_empty_prompt": found.zeros_for_empty, "add_watermarker": False}
        return Loaded(diffusers.StableDiffusionXLPipeline(**made), notes)
    made |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return Loaded(diffusers.StableDiffusionPipeline(**made), notes)


def sketch(found: Index) -> Any:
    """The stock pipeline of a model with networks of its shapes and without any weights, to hold others against."""
    import diffusers
    import transformers
    from accelerate import init_empty_weights

    made: dict[str, Any] = {}
    for name in found.networks:
        config = found.configs[name]
        with init_empty_weights():
            if name.startswith("text_encoder"):
                kind: Any = getattr(transformers, NETWORKS[name])
                made[name] = kind(kind.config_class.from_dict(_text(config)))
            else:
                made[name] = getattr(diffusers, NETWORKS[name]).from_config(config)
    made |= {"scheduler": None, **dict.fromkeys(found.tokenizers)}
    if found.is_xl:
        return diffusers.StableDiffusionXLPipeline(**{"vae": None, **made}, add_watermarker=False)
    made |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return diffusers.StableDiffusionPipeline(**{"vae": None, **made})


def load_networks(
    found: Index,
    *,
    dtype: Any = None,
    vae: Path | None = None,
    hold: bool = False,
    settle: Callable[[str, Any, held.Mapped], None] | None = None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The networks of a model by their names, and what is to be said of them; `vae` and `hold` as `load` has them.

    `settle` does in place of `hold` what becomes of a large network in half precision: it is given its name, itself as
    it is stored, and its mapped files, before the next is loaded. Raises ModelError.
    """
    import diffusers
    import torch
    import transformers

    if not vae and "vae" not in found.networks:
        raise ModelError(f"{found.folder} holds no VAE: name one as the profile's vae, a folder, a file or a hub id")
    loaded: dict[str, Loaded] = {}
    mapped: list[tuple[Any, held.Mapped]] = []
    for name, kind_name in NETWORKS.items():
        kind: Any = getattr(diffusers, kind_name, None) or getattr(transformers, kind_name)
        if name == "vae" and vae:
            loaded[name] = vaes.load(vae, found.configs.get("vae"), found.is_xl, dtype=dtype)
        elif name in found.networks and _is_kept(found, name, hold or settle is not None):
            loaded[name], pages = _stored(found, name, kind)
            if settle:
                settle(name, loaded[name].model, pages)
            else:
                held.widen(loaded[name].model)
                mapped.append((loaded[name].model, pages))
        elif name in found.networks and found.single:
            loaded[name] = Loaded(single_file.load(found.single, name, kind, dtype=dtype or torch.float32))
        elif name in found.networks:
            loaded[name] = parts.load(kind, found.folder / name, dtype=dtype)
    held.take_turns(mapped, [loaded["vae"].model.decoder])
    notes = found.single.notes if found.single else ()
    notes += tuple(note for it in loaded.values() for note in it.notes)
    for variant in sorted({it.variant for it in loaded.values()} - {""}):
        names = ", ".join(name for name, it in loaded.items() if it.variant == variant)
        notes += (f"{names} of {found.folder}: read from the variant {variant}, as there is no other",)
    return {name: it.model for name, it in loaded.items()}, notes


def _entries(found: Index, name: str) -> dict[str, files.Entry]:
    if found.single:
        return single_file.entries(found.single, name)
    return files.find(found.folder / name).entries()


def _is_kept(found: Index, name: str, wanted: bool) -> bool:
    """Whether a network is to stay in the half precision that it is stored in, and is large enough for it."""
    return wanted and name != "vae" and held.half_of(_entries(found, name)) is not None


def _stored(found: Index, name: str, kind: Any) -> tuple[Loaded, held.Mapped]:
    """A network in the half precision that it is stored in, and its mapped files, whose pages are given back."""
    half = held.half_of(_entries(found, name))
    if found.single:
        pages = held.Mapped([found.single.path])
        loaded = Loaded(single_file.load(found.single, name, kind, dtype=half, mapped=pages.tensors))
    else:
        loaded = parts.load(kind, found.folder / name, dtype=half)
        pages = held.Mapped(files.find(found.folder / name).paths)
        pages.take_over(loaded.model)
    pages.give_back()
    return loaded, pages


def tokenizers(found: Index) -> dict[str, Any]:
    """The tokenizers by their names; none gives ids that its text encoder lacks. Raises ModelError."""
    made = {}
    for name in found.tokenizers:
        config = _text(found.configs[name.replace("tokenizer", "text_encoder")])
        if found.single:
            made[name] = single_file.tokenizer(found.single, name)
        else:
            made[name] = parts.tokenizer(found.folder / name, int(config.get("max_position_embeddings", 77)))
        if len(made[name]) > (size := int(config.get("vocab_size", 49408))):
            raise ModelError(
                f"{name} in {found.folder} has {len(made[name])} words, its text encoder {size}: they belong to "
                "different models"
            )
    return made


def scheduler(found: Index, prediction: str = "") -> Any:
    """The model's own scheduler; with `prediction`, one of PREDICTIONS, for a model that predicts that.

    Where the class knows no noise that ends in nothing of the image, DDIM's takes its place. Raises ModelError.
    """
    import diffusers

    if found.single:
        settings = dict(found.single.scheduler)
        own: Any = getattr(diffusers, settings.pop("_class_name")).from_config(settings)
        if not prediction and "prediction_type" not in settings:
            raise ModelError(
                f"{found.folder} is a Stable Diffusion 2, and does not say what it predicts: set the profile's "
                "prediction to epsilon (made for 512 px) or v (made for 768 px)"
            )
    else:
        own = parts.scheduler(found.folder / "scheduler")
    if not prediction:
        return own
    takes = set(inspect.signature(type(own)).parameters)
    changes = PREDICTIONS[prediction]
    if "prediction_type" not in takes:
        raise ModelError(f"{type(own).__name__} of {found.folder} is for one kind of prediction: leave prediction out")
    kind: Any = type(own) if takes >= changes.keys() else diffusers.DDIMScheduler
    return kind.from_config(own.config, **changes)


def _read_file(path: Path) -> Index:
    single = single_file.read(path)
    is_xl = single.family == "sdxl"
    name = "StableDiffusionXLPipeline" if is_xl else "StableDiffusionPipeline"
    return Index(path, name, is_xl, {"_class_name": name}, single.configs, single)


def _read_folder(folder: Path) -> Index:
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        kinds.refuse_folder(folder)
    index = files.read_index(folder)
    pipeline = str(index.get("_class_name"))
    if index.get("text_encoder") in (None, [None, None]) and index.get("requires_aesthetics_score"):
        raise ModelError(f"{folder} is SDXL's refiner, which finishes what the base model drew: give the base model")
    if pipeline not in FAMILIES:
        what = kinds.pipeline(pipeline)
        raise ModelError(
            f"{folder} is a {pipeline}{f', {what}' if what else ''}; Stable Diffusion 1.5, 2 or XL is accepted"
        )
    is_xl = FAMILIES[pipeline]
    found = Index(folder, pipeline, is_xl, index, {})
    for name in found.networks:
        if index.get(name) in (None, [None, None]) or not (folder / name).is_dir():
            raise ModelError(f"the model at {folder} has no {name}: {files.AGAIN}")
        found.configs[name] = files.read_json(folder / name / "config.json")
        files.find(folder / name).entries()  # only their names and sizes: whether all is there
    return found


def _check(found: Index) -> None:
    """Raise ModelError where the settings of the parts do not fit together, or ask for what is not text to image."""
    unet, vae = found.configs["unet"], found.configs.get("vae", {})
    where, channels = f"the U-Net in {found.folder}", vae.get("latent_channels", 4)
    read, made = unet.get("in_channels", 4), unet.get("out_channels", 4)
    if (read, made) != (channels, channels):
        raise ModelError(
            f"{where} reads {read} channels and gives {made}, the VAE's latents have {channels}: {kinds.reads(read)} "
            "is not accepted, give one that draws from text"
        )
    if extra := next((_EXTRA[name] for name in _EXTRA if unet.get(name)), None):
        raise ModelError(f"{where} reads {extra} besides text: give a plain Stable Diffusion 1.5, 2 or XL")
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
