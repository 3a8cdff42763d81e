"""The optimizers that a run may choose: how each is made, and what of it the next step depends on.

In all of them the learning rate means the same: about the most that a weight moves in a step, whatever its gradient.
They differ in what they remember of past gradients, and so in memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import TrainingError, one_line
from training.settings.training import Optimizer

MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's, of every weight
# How often a weight has moved, which all have alike, and Adafactor's size of it, which it takes anew in every step.
NO_STATE = ("step", "RMS")
# Whose it is, where not torch's, and how that is installed.
LIBRARIES = {
    "adafactor": ("timm", "pip install timm"),
    "adamw-8bit": ("bitsandbytes", "pip install '.[adamw-8bit]' in the clone, or pip install bitsandbytes"),
}
PROBE = 4096  # weights from which on bitsandbytes keeps 8 bits of each


def library(settings: Optimizer, device: torch.device) -> str | None:
    """Whose optimizer it is and which version, None for torch's. Raises TrainingError if it cannot be used here."""
    if settings.optimizer not in LIBRARIES:
        return None
    name, install = LIBRARIES[settings.optimizer]
    try:
        version = f"{name} {imported(name).__version__}"
    except ImportError as error:
        raise TrainingError(
            f"--optimizer {settings.optimizer} is {name}'s, which is not installed: {install}; without it use another "
            "optimizer"
        ) from error
    except Exception as error:  # a library that was built for another machine raises what it likes
        raise TrainingError(f"--optimizer {settings.optimizer}: {name} does not load: {one_line(error)}") from error
    try:
        weight = nn.Parameter(torch.ones(PROBE, device=device))
        weight.grad = torch.ones_like(weight)
        make(settings, [weight], device).step()
    except Exception as error:  # which ones a library raises where it has no code for a device is its own affair
        raise TrainingError(
            f"--optimizer {settings.optimizer}: {version} does not run on {device} ({one_line(error)}): "
            "use another optimizer"
        ) from error
    return version


def imported(name: str) -> Any:
    """A library that need not be installed. Raises ImportError, and whatever else it may."""
    return importlib.import_module(name)


def make(settings: Optimizer, weights: Sequence[nn.Parameter], device: torch.device) -> torch.optim.Optimizer:
    """The optimizer of a run, with the memory that it needs set aside as far as its library does so."""
    own: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    match settings.optimizer:
        case "adafactor":
            # timm's, since torch's and transformers' factor the 3 x 3 of a convolution's kernel instead of its
            # channels: of Stable Diffusion 1.5 they keep 2.1 bytes a weight, this one 0.01.
            from timm.optim.adafactor import Adafactor

            return Adafactor(weights, **own)
        case "adamw-8bit":
            made: torch.optim.Optimizer = imported("bitsandbytes").optim.AdamW8bit(weights, **own)
            return made
        case _:
            adamw = torch.optim.AdamW(weights, **own, fused=device.type in ("cpu", "cuda"))
            for weight in weights:
                adamw.state[weight] = {**_moments(weight), "step": _step(adamw, weight, 0)}
            return adamw


def _moments(weight: nn.Parameter) -> dict[str, Tensor]:
    """AdamW's state of a weight, set aside before the first step.

    AdamW itself would do so in that step, between activations that come and go: memory would stay in pieces, and
    run out where a smaller batch does not help.
    """
    return {name: torch.zeros_like(weight, memory_format=torch.preserve_format) for name in MOMENTS}


def tensors(optimizer: torch.optim.Optimizer, weights: Sequence[nn.Parameter]) -> dict[str, dict[int, Tensor]]:
    """What it remembers of each weight: name → number of the weight → tensor, for those that have one of the name.

    One that several weights share, as bitsandbytes' tables are, is copied, since a file holds none twice.
    """
    found: dict[str, dict[int, Tensor]] = {}
    seen: set[int] = set()
    for i, weight in enumerate(weights):
        for name, value in optimizer.state[weight].items():
            if name not in NO_STATE:
                found.setdefault(name, {})[i] = value.clone() if id(value) in seen else value
                seen.add(id(value))
    return found


def steps(optimizer: torch.optim.Optimizer, weights: Sequence[nn.Parameter]) -> int:
    """How many steps it has taken."""
    return int(optimizer.state[weights[0]].get("step", 0))


def restore(
    optimizer: torch.optim.Optimizer,
    weights: Sequence[nn.Parameter],
    taken: int,
    names: Sequence[str],
    read: Callable[[str], dict[int, Tensor]],
) -> None:
    """Take over what `tensors` gave under `names`, after `taken` steps. ValueError if a weight lacks its own."""
    if not names:  # of a library that sets nothing aside, before its first step: fp16 leaves out those that overflow
        return
    optimizer.state.clear()  # its memory is needed for what is read
    for name in names:
        for i, value in read(name).items():
            optimizer.state[weights[i]][name] = value
    for i, weight in enumerate(weights):
        if not optimizer.state[weight]:
            raise ValueError(f"the optimizer has nothing of weight {i}")
        optimizer.state[weight]["step"] = _step(optimizer, weight, taken)


def _step(optimizer: torch.optim.Optimizer, weight: nn.Parameter, taken: int) -> Tensor | int:
    """The count as AdamW keeps it, which its fused code reads on the device; for others a plain number."""
    if not isinstance(optimizer, torch.optim.AdamW):
        return taken
    return torch.tensor(float(taken), device=weight.device if optimizer.defaults["fused"] else "cpu")
