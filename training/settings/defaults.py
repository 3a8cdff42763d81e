"""What a setting is where nobody gives it: tuned for the embedded model, as published for every other.

Published values belong to a family of models and to what of it is trained. Where a loss has none of its own for
both, the nearest are taken, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from training.losses import LOSSES
from training.models.family import NAMES, Family

Kind = Literal["unet", "lora", "value-encoder"]
TRAINED: dict[Kind, str] = {"lora": " with LoRA", "value-encoder": "'s value encoder", "unet": ""}
# Tuned for the embedded model, which learns in minutes on two cores.
EMBEDDED_DEFAULTS: dict[Kind, dict[str, Any]] = {
    "unet": {"lr": 1e-4, "steps": 120, "batch": 32},
    "lora": {"lr": 1e-4, "steps": 120, "batch": 32},
    "value-encoder": {"lr": 1e-3, "steps": 1200, "batch": 32, "schedule": "cosine", "leak_penalty": 10.0},
}
# For losses that have nothing published: the whole U-Net as MaPO's authors trained their DPO baseline on SDXL (arXiv
# 2406.06424v2, supplement), LoRA as diffusers' scripts train DPO, a value encoder as LiVO's authors theirs.
PUBLISHED_DEFAULTS: dict[Kind, dict[str, Any]] = {
    "unet": {"lr": 1e-6, "steps": 2000, "batch": 16},
    "lora": {"lr": 1e-5, "steps": 2000, "batch": 16},
    "value-encoder": {"lr": 1e-6, "steps": 15000, "batch": 8},
}
SOURCES: dict[Kind, str] = {
    "unet": "MaPO's authors' for DPO on SDXL",
    "lora": "diffusers' for DPO on SDXL with LoRA",
    "value-encoder": "LiVO's on Stable Diffusion 1.5",
}
BY_LOSS = (*PUBLISHED_DEFAULTS["unet"], "warmup")


class Default(NamedTuple):
    """A value, and where it comes from."""

    value: Any
    source: str


def defaults(method: str, kind: Kind, family: Family) -> dict[str, Default]:
    """Settings and loss options by name: what trains `kind` of a model by a loss, unless something else is given.

    A value encoder is trained alike whatever the loss, so that a comparison of losses is one: of the loss's own
    defaults only its options count there, unless they were published for a value encoder.
    """
    loss = LOSSES[method]
    if family == "embedded":
        source = "tuned for the embedded model"
        if kind == "lora" and "lora_rank" not in loss.embedded:
            source += "'s whole U-Net; LoRA may want a higher --lr"
        own = loss.embedded if kind != "value-encoder" else _options(method, loss.embedded)
        return {name: Default(value, source) for name, value in {**EMBEDDED_DEFAULTS[kind], **own}.items()}
    here, other = _words(family, kind), _other(family)
    layers: list[tuple[str, Mapping[str, Any]]] = []
    layers.append((f"{SOURCES[kind]}, as none is published for {method} on {here}", PUBLISHED_DEFAULTS[kind]))
    nearest = f"published for {method} on {_words(other, kind)}, none for {here}"
    layers.append((nearest, loss.published.get(_way(other, kind), {})))
    for near in TRAINED:  # a beta is of the model before it is of what is trained
        if near != kind:
            values = _options(method, loss.published.get(_way(family, near), {}))
            layers.append((f"published for {method} on {_words(family, near)}", values))
    layers.append((f"published for {method} on {here}", loss.published.get(_way(family, kind), {})))
    return {name: Default(value, source) for source, values in layers for name, value in values.items()}


def sources(taken: Mapping[str, Default]) -> tuple[str, ...]:
    """The defaults that were taken, one line for each source."""
    by_source: dict[str, list[str]] = {}
    for name, (value, source) in taken.items():
        by_source.setdefault(source, []).append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return tuple(f"{', '.join(values)}: {source}" for source, values in by_source.items())


def _options(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are the loss's own options."""
    return {name: value for name, value in values.items() if name in LOSSES[method].option_names}


def _other(family: Family) -> Family:
    return "sdxl" if family == "sd15" else "sd15"


def _way(family: Family, kind: Kind) -> str:
    return family if kind == "unet" else f"{family}-{kind}"


def _words(family: Family, kind: Kind) -> str:
    return f"{NAMES[family]}{TRAINED[kind]}"
