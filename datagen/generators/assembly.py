"""A diffusers pipeline put together: its weights in a precision, and a recipe's scheduler.

Whatever does not load, and does not fit together, is a `ModelError`.
"""

from __future__ import annotations

import inspect
from typing import Any

from datagen.errors import ModelError, nearest, one_line
from datagen.models import Source
from datagen.recipe import SCHEDULERS
from datagen.weights import parts, pipelines

# What of a VAE's settings decides what latents are, and must be as in the model's own.
_LATENTS = ("latent_channels", "block_out_channels", "scaling_factor", "shift_factor", "latents_mean", "latents_std")
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def pipeline(source: Source, scheduler: str, precision: str, vae: Source | None) -> tuple[Any, Any, tuple[str, ...]]:
    """The pipeline of a model, in the machine's memory; the device that it is for; what is to be known of its weights.

    `vae` is one to take in the place of the model's own.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = _dtype(precision, device)
    loaded = pipelines.load(source.folder, dtype=dtype)
    made = loaded.model
    if vae:
        made.register_modules(vae=_other_vae(vae, made.vae, dtype))
    made.scheduler = _scheduler(scheduler, made.scheduler)
    made.set_progress_bar_config(disable=True)
    return made, device, tuple(note.replace(str(source.folder), source.name) for note in loaded.notes)


def settings(scheduler: Any) -> dict[str, Any]:
    """All settings of a scheduler, so that they hold whatever the defaults of another version of its class are."""
    return {name: scheduler.config[name] for name in inspect.signature(type(scheduler)).parameters}


def refuse_steps(scheduler: Any, steps: int) -> None:
    """ModelError if a scheduler does not get through so many steps: it is run alone, on one latent pixel."""
    import torch

    alone = type(scheduler).from_config(scheduler.config)
    latent = torch.ones(1, 1, 1, 1)
    try:
        alone.set_timesteps(steps)
        for timestep in alone.timesteps:
            latent = alone.step(
                torch.zeros_like(latent), timestep, alone.scale_model_input(latent, timestep)
            ).prev_sample
    except Exception as error:  # of an index, a value, a type: each class has its own
        why = one_line(error)
    else:
        if torch.isfinite(latent).all():
            return
        why = "it is not finite at the end"
    raise ModelError(f"{type(scheduler).__name__} cannot sample in {steps} steps ({why}): set other steps")


def _dtype(precision: str, device: Any) -> Any:
    """What the weights are held in."""
    import torch

    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "fp32"
    return getattr(torch, _DTYPES[precision])


def _other_vae(source: Source, own: Any, dtype: Any) -> Any:
    """A VAE from elsewhere. ModelError if its latents are not those of the model's own."""
    import diffusers

    other = parts.load(diffusers.AutoencoderKL, source.folder, dtype=dtype).model
    for setting in _LATENTS:
        ours, theirs = (_plain(vae.config.get(setting)) for vae in (own, other))
        if setting == "block_out_channels":
            ours, theirs = len(ours), len(theirs)  # halvings of the image, one less
        if ours != theirs:
            raise ModelError(
                f"the VAE {source.name} is not of this model's family: its {setting} is {theirs}, that of the model's "
                f"own {ours}"
            )
    return other


def _plain(value: Any) -> Any:
    """A setting as JSON would have it; no shift is a shift of none."""
    return list(value) if isinstance(value, tuple | list) else value or None


def _scheduler(choice: str, own: Any) -> Any:
    """The scheduler of a recipe on the model's own noise levels; ModelError if it does not know such."""
    import diffusers

    if choice not in SCHEDULERS:
        raise ModelError(f"no scheduler is called {choice!r}; {nearest(choice, SCHEDULERS)}")
    if choice == "model":
        return own
    # Latents are not pixels: clipping them to ±1 is wrong whatever the file says.
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "ddim": (diffusers.DDIMScheduler, {"clip_sample": False}),
        "dpm++": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
        "euler": (diffusers.EulerDiscreteScheduler, {}),
    }
    kind, changes = kinds[choice]
    made = kind.from_config(own.config, **changes)
    if not _is_of_equal_noise(own, made):
        raise ModelError(
            f"the model was trained with the noise of its {type(own).__name__}, which {choice} would take for "
            "another: set scheduler to model"
        )
    return made


def _is_of_equal_noise(own: Any, made: Any) -> bool:
    """Whether two schedulers agree on how much noise a step has, and on what is predicted."""
    import torch

    levels = getattr(own, "alphas_cumprod", None)  # EDM and flow matching have others
    if levels is None or levels.shape != made.alphas_cumprod.shape:
        return False
    # Where the last is rescaled to zero, some classes move it off that.
    same = torch.allclose(levels, made.alphas_cumprod, rtol=1e-4, atol=1e-6)
    return same and own.config.get("prediction_type", "epsilon") == made.config.prediction_type
