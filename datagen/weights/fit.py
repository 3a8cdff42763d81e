"""Whether weights fill their model: what was missing, unexpected or of another shape, and what of it is harmless."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from datagen.errors import ModelError
from datagen.weights.files import named


@dataclasses.dataclass(frozen=True)
class Harmless:
    """Tensors that a file may have too many, or lack, and why their absence in the model changes nothing."""

    kinds: str  # expression for the names of the classes that this holds for
    tensors: str  # expression for the tensors' names
    why: str
    may_lack: bool = False  # the file may lack them; else the file may have them


HARMLESS = (
    Harmless(r".*", r"(^|\.)position_ids$", "0, 1, 2, …, stored by old versions of transformers"),
    Harmless(
        r"CLIPTextModel",
        r"^(vision_model\..*|visual_projection\.weight|text_projection\.weight|logit_scale)$",
        "the rest of a whole CLIP, which a text encoder does not read",
    ),
    Harmless(r"ImageReward", r"^blip\.(vision|text)_proj\.", "BLIP's own projections, which the score does not read"),
    Harmless(
        r"SiglipVisionModel",
        r"^(text_model\..*|logit_scale|logit_bias)$",
        "the rest of a whole SigLIP, which its vision tower does not read",
    ),
    Harmless(r"AutoModel", r"^(cls|lm_head|qa_outputs|classifier|pooler)\.", "heads on top of the hidden states"),
    Harmless(r"AutoModel", r"^pooler\.", "a head that only sentence classification reads", may_lack=True),
)
REMEDY = "give the weights that belong to this model's config.json"
# Fewer layers than the file holds is how a text encoder is stored that reads an earlier layer ("clip skip").
_LAYER = re.compile(r"^(?:text_model\.)?encoder\.layers\.(\d+)\.")


@dataclasses.dataclass(frozen=True)
class Differences:
    """How a file and a model differ: names of tensors; of those of another shape both shapes, the model's first."""

    missing: frozenset[str] = frozenset()
    unexpected: frozenset[str] = frozenset()
    misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = dataclasses.field(default_factory=dict)


def compare(model: Mapping[str, tuple[int, ...]], held: Mapping[str, tuple[int, ...]]) -> Differences:
    """The differences between the shapes that a model has and those of a file."""
    return Differences(
        frozenset(model.keys() - held.keys()),
        frozenset(held.keys() - model.keys()),
        {name: (model[name], held[name]) for name in model.keys() & held.keys() if model[name] != held[name]},
    )


def check(
    what: str, differences: Differences, kind: str = "", layers: int | None = None, remedy: str = REMEDY
) -> tuple[str, ...]:
    """Notes on what was left out. Raises ModelError if the weights do not fill the model.

    `what` is the part and its place, `kind` the class of the model, `layers` how many a text encoder has, where its
    file may hold more, `remedy` what to do.
    """
    missing = _without_harmless(differences.missing, kind, may_lack=True)
    unexpected = _without_harmless(differences.unexpected, kind, may_lack=False)
    above = {name for name in unexpected if layers and (m := _LAYER.match(name)) and int(m[1]) >= layers}
    skipped = {match[1] for name in above if (match := _LAYER.match(name))}
    unexpected -= above
    if missing or unexpected or differences.misshapen:
        described = _described(missing, unexpected, differences.misshapen)
        raise ModelError(f"the weights of {what} do not fit: {described}; {remedy}")
    if not skipped:
        return ()
    return (f"{what} has {layers} layers; its file holds {len(skipped)} more, which are not read",)


def refuse_broken(what: str, model: Any) -> None:
    """Raise ModelError if a stored tensor of a torch module is NaN, infinite, or was never filled."""
    import torch

    tensors = list(model.state_dict().items())
    if empty := [name for name, tensor in tensors if tensor.is_meta]:
        raise ModelError(f"the weights of {what} do not fit: {_counted(empty, 'missing')}")
    broken = [
        name
        for name, tensor in tensors
        # The sum first: it needs no room, and is finite for all but broken tensors.
        if tensor.is_floating_point()
        and not tensor.sum(dtype=torch.float32).isfinite()
        and not tensor.isfinite().all()
    ]
    if broken:
        precision = str(next(model.parameters()).dtype).removeprefix("torch.")
        raise ModelError(
            f"the weights of {what} hold NaN or infinite numbers in {precision}: {len(broken)} tensors "
            f"({named(broken)}); give whole weights, or load them in float32"
        )


def _without_harmless(names: Iterable[str], kind: str, *, may_lack: bool) -> set[str]:
    rules = [it for it in HARMLESS if it.may_lack is may_lack and re.fullmatch(it.kinds, kind)]
    return {name for name in names if not any(re.search(rule.tensors, name) for rule in rules)}


def _described(missing: set[str], unexpected: set[str], misshapen: Mapping[str, Any]) -> str:
    """The counts and first names of each, and what is wrong with all of them if that can be said."""
    parts = [_counted(names, word) for names, word in ((missing, "missing"), (unexpected, "unexpected")) if names]
    if misshapen:
        first = min(misshapen)
        ours, theirs = (list(shape) for shape in misshapen[first])
        more = ", …" if len(misshapen) > 1 else ""
        parts.append(f"{len(misshapen)} of another shape ({first}: {theirs} in the file, {ours} in the model{more})")
    prefix = _prefix(missing, unexpected)
    hint = f"; the file's names begin with {prefix!r}: save it without" if prefix else ""
    return ", ".join(parts) + hint


def _counted(names: Iterable[str], word: str) -> str:
    every = sorted(names)
    return f"{len(every)} {word} ({named(every)})"


def _prefix(missing: set[str], unexpected: set[str]) -> str:
    """What stands in front of all of the file's names, "" unless that alone tells them from the model's."""
    for name in sorted(unexpected)[:1]:
        for wanted in missing:
            prefix = name.removesuffix(wanted)
            fits = {prefix + other for other in missing} <= unexpected
            if name.endswith(f".{wanted}") and fits and all(other.startswith(prefix) for other in unexpected):
                return prefix
    return ""
