"""A diffusers pipeline put together: its weights in a precision, and a recipe's scheduler.

Whatever does not load, and does not fit together, is a `ModelError`.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datagen import models
from datagen.errors import ModelError, nearest, one_line
from datagen.models import Source
from datagen.recipe import SCHEDULERS
from datagen.weights import additions, pipelines, vaes

HALF_VAE = "madebyollin/sdxl-vae-fp16-fix"
OWN = "own"  # as a profile's vae: the model's, whatever the precision
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class Options:
    """What of a profile decides how a model is put together, by the names that it has there."""

    precision: str = "auto"
    vae: str = ""
    prediction: str = "model"
    adapters: tuple[str, ...] = ()
    offload: str = "none"
    vae_tiling: bool = False


@dataclasses.dataclass(frozen=True)
class Assembled:
    """A pipeline of diffusers, in the machine's memory, and the device that it is for.

    `vae` and `adapters` are what a row says of them; `notes` what is to be known of the weights; `guide` gives texts
    their values, and is None without a value encoder.
    """

    pipeline: Any
    device: Any
    vae: str
    adapters: str
    notes: tuple[str, ...]
    guide: Any = None


def assemble(source: Source, scheduler: str, options: Options) -> Assembled:
    """A model with a recipe's scheduler and what else a profile asks for. Raises ModelError."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = as_dtype(options.precision, device)
    added = additions.find_all(options.adapters)
    vae, notes = _vae(source, options.vae, dtype)
    prediction = "" if options.prediction == "model" else options.prediction
    hold = device.type == "cpu" and dtype == torch.float32
    loaded = pipelines.load(
        source.folder, dtype=dtype, vae=vae.folder if vae else None, prediction=prediction, hold=hold
    )
    made = loaded.model
    more, guide = additions.add_all(made, added)
    notes += more
    made.scheduler = as_scheduler(scheduler, made.scheduler)
    made.set_progress_bar_config(disable=True)
    if options.vae_tiling:
        made.vae.enable_slicing()
        made.vae.enable_tiling()
    notes += tuple(note.replace(str(source.folder), source.name) for note in loaded.notes)
    offload(made, options.offload, device)
    said = f"{vae.name}@{vae.revision}" if vae else "", "; ".join(one.said for one in added)
    return Assembled(made, device, *said, notes, guide)


def check(folder: Path, name: str, scheduler: str, options: Options, size: tuple[int, int], steps: int) -> None:
    """Raise ModelError for what a profile asks for and a model on this machine does not fit; no weights are read."""
    found = pipelines.read(folder)
    refuse_size(name, 2 ** (len(found.configs.get("vae", {}).get("block_out_channels", [0] * 4)) - 1), *size)
    added = additions.find_all(options.adapters)
    if name == "embedded" and not added and not options.vae:  # which is of one piece with all that there is to choose
        return
    prediction = "" if options.prediction == "model" else options.prediction
    refuse_steps(as_scheduler(scheduler, pipelines.scheduler(found, prediction)), steps)
    if options.vae not in ("", OWN) and Path(options.vae).expanduser().exists():  # one of a hub may have to be fetched
        vaes.check(models.find_vae(options.vae).folder, found.configs.get("vae"), found.is_xl)
    if added:
        additions.check_all(pipelines.sketch(found), added)


def refuse_size(name: str, step: int, width: int, height: int) -> None:
    """ModelError for sides that a VAE of one latent for `step` pixels does not make."""
    if width % step or height % step:
        raise ModelError(f"{name} makes sides that are multiples of {step}, not {width}×{height}")


def take_the_device(pipeline: Any, device: Any, forget: Callable[[], None] = lambda: None) -> None:
    """Have the GPU alone: of several models the others wait in the machine's memory, loaded as they are.

    `forget` drops what else a model holds on the device, when it has to leave it.
    """
    if _at_work and _at_work[0][0] is not pipeline:
        other, leave = _at_work.pop()
        if device.type != "cpu" and not _is_offloaded(other):
            other.to("cpu")
        leave()
    if not _at_work:
        if not _is_offloaded(pipeline):
            pipeline.to(device)
        _at_work.append((pipeline, forget))


_at_work: list[tuple[Any, Callable[[], None]]] = []  # the one pipeline whose weights are on the device


def offload(pipeline: Any, how: str, device: Any) -> None:
    """Have networks, or each layer, on a GPU only while they run; on a CPU they are where they wait anyway."""
    if device.type == "cpu" or how == "none":
        return
    {"networks": pipeline.enable_model_cpu_offload, "layers": pipeline.enable_sequential_cpu_offload}[how](
        device=device
    )


def _is_offloaded(pipeline: Any) -> bool:
    return hasattr(pipeline, "_offload_device")


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


def as_dtype(precision: str, device: Any) -> Any:
    """What the weights are held in."""
    import torch

    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "fp32"
    return getattr(torch, _DTYPES[precision])


def _vae(source: Source, wanted: str, dtype: Any) -> tuple[Source | None, tuple[str, ...]]:
    """The VAE in the place of a model's own, and a note where that had better be replaced.

    SDXL's own overflows in float16. The one that does not is taken where it is at hand, else its own works in float32.
    """
    import torch

    if wanted:
        return (None if wanted == OWN else models.find_vae(wanted)), ()
    found = pipelines.read(source.folder)
    if dtype != torch.float16 or not found.is_xl or not found.configs.get("vae", {}).get("force_upcast", True):
        return None, ()
    try:
        return models.find_vae(HALF_VAE, download=False), ()
    except ModelError:
        return None, (f"the VAE works in float32, as {HALF_VAE} is not here (set it as vae to have it fetched)",)


def software(device: Any) -> str:
    """Libraries and device, for whoever wants the same bits."""
    import torch

    on = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    libraries = [f"{name} {importlib.metadata.version(name)}" for name in ("diffusers", "transformers")]
    return f"{', '.join(libraries)}, torch {torch.__version__} on {device.type} ({on})"


def as_scheduler(choice: str, own: Any) -> Any:
    """A recipe's scheduler on the noise of the model's own, or that of a row, "CLASS {its settings}". ModelError."""
    import diffusers

    if choice == "model":
        return own
    name, _, config = choice.partition(" ")
    if config:
        return getattr(diffusers, name).from_config(json.loads(config))
    if choice not in SCHEDULERS:
        raise ModelError(f"no scheduler is called {choice!r}; {nearest(choice, SCHEDULERS)}")
    # Latents are not pixels: clipping them to ±1 is wrong whatever the file says.
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "ddim": (diffusers.DDIMScheduler, {"clip_sample": False}),
        "dpm++": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
        "euler": (diffusers.EulerDiscreteScheduler, {}),
        "euler-trailing": (diffusers.EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
        "lcm": (diffusers.LCMScheduler, {"clip_sample": False}),
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
