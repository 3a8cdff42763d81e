"""A VAE from elsewhere in the place of a model's own: a folder, or one file in its authors' names.

Held against the model's before any weights are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagen.errors import ModelError
from datagen.weights import files, parts, single_file
from datagen.weights.parts import Loaded

# What of a VAE's settings decides what latents are, and must be as in the model's own.
_LATENTS = ("latent_channels", "block_out_channels", "scaling_factor", "shift_factor", "latents_mean", "latents_std")
_SCALES = {False: 0.18215, True: 0.13025}  # of models that come without a VAE, by whether they are an XL
_CHANNELS = [128, 256, 512, 512]
# What diffusers takes where a config.json is silent.
_DEFAULTS = {"latent_channels": 4, "scaling_factor": 0.18215, "block_out_channels": (64,)}


def load(place: Path, own: Mapping[str, Any] | None, is_xl: bool, *, dtype: Any = None) -> Loaded:
    """The VAE of a place as `dtype` (None: float32), for a model whose own has the settings `own`, None for none.

    Raises ModelError if its latents are not those of the model.
    """
    import diffusers
    import torch

    config = check(place, own, is_xl)
    kind: Any = diffusers.AutoencoderKL
    if place.is_file():
        return Loaded(single_file.vae(place, config, kind, dtype=dtype or torch.float32))
    return parts.load(kind, place, dtype=dtype)


def check(place: Path, own: Mapping[str, Any] | None, is_xl: bool) -> dict[str, Any]:
    """The settings of a VAE, which is for a model as `load` has it. ModelError as there; no weights are read."""
    like = own or {"scaling_factor": _SCALES[is_xl], "block_out_channels": _CHANNELS, "latent_channels": 4}
    is_file = place.is_file()
    config = single_file.vae_config(place, like) if is_file else files.read_json(place / "config.json")
    _check(place, config, like)
    return config


def _check(place: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    for setting in _LATENTS:
        one, other = _plain(setting, ours), _plain(setting, theirs)
        if one != other:
            raise ModelError(
                f"the VAE {place.name} is not of this model's family: its {setting} is {other}, that of the "
                f"model's own {one}"
            )


def _plain(setting: str, config: Mapping[str, Any]) -> Any:
    """A setting as JSON would have it; no shift is a shift of none."""
    value = config.get(setting, _DEFAULTS.get(setting))
    if setting == "block_out_channels":
        return len(value or ())  # halvings of the image, one less
    return list(value) if isinstance(value, tuple | list) else value or None
