"""A whole Stable Diffusion 1.5, 2.x or XL in one safetensors file, as people share them.

Its settings are read off its names and shapes (`ldm`), its tokenizers are CLIP's, its noise is the family's. What it
predicts of the noise stands in a few such files; of SD 2 it must be known, as there are both kinds.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line
from datagen.weights import checkpoint, files, kinds, ldm, parts

# What lies in such files beside a model: averaged weights, schedules, losses, marks.
_BESIDE = re.compile(
    r"(model_ema|loss|v_pred|ztsnr|edm_vpred|denoiser|epoch|global_step|state_dict|cond_stage_model\.logit_scale)(\..*)?"
    r"|(alphas|betas|sqrt|log_one|posterior|logvar|lvlb|scale_factor|one_minus|embedding_manager).*"
    r"|.*(position_ids|\.logit_scale|\.attn_mask|\.text_projection|\.num_updates|\.decay)"
)
_EMA = "model_ema."
_VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
# Noise of all three families; the class is that of their authors' own diffusers folders.
_NOISE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
_SCHEDULERS: dict[str, dict[str, Any]] = {
    "sd1": {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False, "clip_sample": False},
    "sd2": {"_class_name": "DDIMScheduler", "set_alpha_to_one": False, "clip_sample": False},
    "sdxl": {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"},
}
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
_PREDICTIONS = {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon", "eps": "epsilon"}


@dataclasses.dataclass(frozen=True)
class SingleFile:
    """What the header of a file says: its family (sd1, sd2, sdxl), the networks' settings, the scheduler's.

    The scheduler's settings have no prediction_type where the file does not say it and the family has both.
    """

    path: Path
    family: str
    configs: dict[str, dict[str, Any]]
    scheduler: dict[str, Any]
    notes: tuple[str, ...] = ()


def read(path: Path) -> SingleFile:
    """The settings of a file. Reads no weights. Raises ModelError, one line, for what is no whole model."""
    if path.suffix in files.PICKLES:
        raise ModelError(f"{path}: {files.CONVERT}")
    found = files.Files((path,)).entries()
    kinds.refuse_file(path, found)
    family = next((name for name, prefix in ldm.OPEN_CLIP.items() if _has(found, prefix)), "sd1")
    prefixes = _prefixes(family, found)
    try:
        configs = {part: _config(part, family, _part(found, prefix)) for part, prefix in prefixes.items()}
    except (KeyError, IndexError, StopIteration, ValueError) as error:
        raise ModelError(f"{path} lacks tensors that a whole model has ({one_line(error)}): {files.AGAIN}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    known = (*prefixes.values(), ldm.VAE)
    if stray := [name for name in found if not name.startswith(known) and not _BESIDE.fullmatch(name)]:
        raise ModelError(f"{path} holds {len(stray)} tensors that have no place in the model ({files.named(stray)})")
    _finish(family, configs)
    ema = _has(found, _EMA)
    notes = (f"{path} holds averaged weights (EMA) as well, which are not read",) if ema else ()
    return SingleFile(path, family, configs, _scheduler(path, family, found), notes)


def entries(found: SingleFile, part: str) -> dict[str, files.Entry]:
    """The tensors of one network of the file."""
    return _part(files.header(found.path), _prefixes(found.family, ())[part])


def load(found: SingleFile, part: str, kind: Any, *, dtype: Any, mapped: Mapping[str, Any] | None = None) -> Any:
    """One network of the file as `dtype`, in evaluation mode; `mapped`: the file's tensors if they are here already.

    Raises ModelError unless the file fills it and all of the file's tensors for it have found their place.
    """
    prefix = _prefixes(found.family, ())[part]
    held = _part(parts.tensors(found.path, _names(found.path, prefix)) if mapped is None else mapped, prefix)
    try:
        renamed = _renamed(part, found.family, held)
    except ModelError as error:
        raise ModelError(f"{found.path}: {error}") from error
    return _filled(f"{part} in {found.path}", kind, found.configs[part], renamed, dtype)


def vae_config(path: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a VAE that is shared as one file; what shapes do not say is as in the settings `like`.

    Reads no weights. Raises ModelError.
    """
    if path.suffix in files.PICKLES:
        raise ModelError(f"{path}: {files.CONVERT}")
    found = files.Files((path,)).entries()
    try:
        config = ldm.vae_config("sd1", _part(found, _vae_prefix(found)))
    except (KeyError, IndexError) as error:
        raise ModelError(f"{path} holds no VAE ({one_line(error)} is not there): give one, or its folder") from error
    return config | {
        name: like[name] for name in ("scaling_factor", "norm_num_groups", "force_upcast") if name in like
    }


def vae(path: Path, config: dict[str, Any], kind: Any, *, dtype: Any) -> Any:
    """The VAE of such a file, or of a whole model's, as `dtype`. Raises ModelError."""
    names = [name for name in files.header(path) if name.removeprefix(ldm.VAE).startswith(_VAE_PARTS)]
    prefix = _vae_prefix(names)
    held = _part(parts.tensors(path, [name for name in names if name.startswith(prefix)]), prefix)
    return _filled(f"the VAE in {path}", kind, config, ldm.vae_names(held, config), dtype)


def tokenizer(found: SingleFile, part: str) -> Any:
    """The tokenizer of a text encoder: CLIP's, or OpenCLIP's, which fills short texts up with another word."""
    import gzip

    import open_clip
    from open_clip.tokenizer import bytes_to_unicode
    from transformers import CLIPTokenizer

    packed = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(packed.read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    made: Any = CLIPTokenizer(
        vocab={word: place for place, word in enumerate(words)},
        merges=merges,
        pad_token="!" if found.family == "sd2" or part == "tokenizer_2" else "<|endoftext|>",
        model_max_length=77,
    )
    return made


def _prefixes(family: str, names: Iterable[str]) -> dict[str, str]:
    """The networks of a file and what stands before their names; without names all of the family's."""
    found = {"unet": ldm.UNET, "vae": ldm.VAE}
    if family == "sd2":
        found["text_encoder"] = ldm.OPEN_CLIP["sd2"]
    else:
        found["text_encoder"] = ldm.CLIP[family]
    if family == "sdxl":
        found["text_encoder_2"] = ldm.OPEN_CLIP["sdxl"]
    names = list(names)
    return {part: prefix for part, prefix in found.items() if part != "vae" or not names or _has(names, prefix)}


def _config(part: str, family: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    if part == "unet":
        return ldm.unet_config(family, tensors)
    if part == "vae":
        return ldm.vae_config(family, tensors)
    if part == "text_encoder" and family != "sd2":
        return ldm.clip_config(tensors)
    return ldm.open_clip_config(family, tensors)


def _renamed(part: str, family: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    if part == "unet":
        return ldm.unet_names(tensors, ldm.unet_config(family, tensors))
    if part == "vae":
        return ldm.vae_names(tensors, ldm.vae_config(family, tensors))
    if part == "text_encoder" and family != "sd2":
        return ldm.clip_names(tensors)
    return ldm.open_clip_names(family, tensors)


def _finish(family: str, configs: dict[str, dict[str, Any]]) -> None:
    """What of the U-Net's settings follows from the text encoder beside it: the width of SDXL's six numbers."""
    if family == "sdxl":
        numbers = configs["unet"].get("projection_class_embeddings_input_dim", 0)
        configs["unet"]["addition_time_embed_dim"] = (numbers - configs["text_encoder_2"]["projection_dim"]) // 6


def _scheduler(path: Path, family: str, names: Iterable[str]) -> dict[str, Any]:
    """The family's noise, with what the file says of itself: marks of fine-tuning programs, or its metadata."""
    settings = _NOISE | _SCHEDULERS[family]
    said = str(files.metadata(path).get("modelspec.prediction_type", "")).lower()
    known = "v" if "v_pred" in names else said
    if known not in _PREDICTIONS and family != "sd2":
        known = "epsilon"
    if known in _PREDICTIONS:
        settings["prediction_type"] = _PREDICTIONS[known]
    return settings | (ZERO_SNR if "ztsnr" in names else {})


def _filled(what: str, kind: Any, config: dict[str, Any], tensors: Any, dtype: Any) -> Any:
    """A network of a class of diffusers or transformers with its tensors. ModelError unless they are all of them."""
    from accelerate import init_empty_weights

    parts.quiet()
    config_class = getattr(kind, "config_class", None)
    try:
        with init_empty_weights(include_buffers=False):
            model = kind(config_class(**config)) if config_class else kind(**config)
    except Exception as error:  # of settings that fit no network, each library raises its own
        raise ModelError(f"{what} is of no shape that is known: {one_line(error)}") from error
    model = model.to(dtype)
    names = {name: name.removeprefix("text_model.") for name in model.state_dict()}
    checkpoint.fill(what, model, tensors, names)
    return model.eval()


def _vae_prefix(names: Iterable[str]) -> str:
    return ldm.VAE if _has(names, ldm.VAE) else ""


def _names(path: Path, prefix: str) -> list[str]:
    return [name for name in files.header(path) if name.startswith(prefix)]


def _part(entries: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): entry for name, entry in entries.items() if name.startswith(prefix)}


def _has(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)
