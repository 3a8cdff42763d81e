"""Default settings by model and method: tuned for the embedded model, as published for Stable Diffusion.

Data only: config.py reads it. A setting that is not here has its default on the command line.
"""

from __future__ import annotations

from typing import Any

# The embedded model learns in minutes on two cores. Its errors are larger than Stable Diffusion's and so are LiVO's
# margins: gamma/beta and gamma/alpha are in units of mean squared error.
_EMBEDDED: dict[str, dict[str, Any]] = {
    "sft": {"lr": 1e-4, "steps": 120, "batch": 32},
    "dpo": {"lr": 1e-4, "steps": 120, "batch": 32, "beta": 500.0},
    # LoRA: full fine-tuning changes the style whatever the prompt says, these weights only where it leaves it open.
    "mapo": {"lr": 2e-3, "steps": 1200, "batch": 32, "schedule": "cosine", "anchor": 0.15, "lora_rank": 32},
    "livo": {
        "lr": 1e-3,
        "steps": 1200,
        "batch": 32,
        "schedule": "cosine",
        "keep": 10.0,
        "beta": 100.0,
        "alpha": 100.0,
        "gamma1": 1.0,
        "gamma2": 3.0,
    },
}
# The others as dpo, their betas such that the logit of a pair, or what stands for it, is the same as dpo's.
_BETAS = {"npo": 500.0, "hinge": 500.0, "dmpo": 500.0, "ipo": 250.0, "pso": 250.0, "smpo": 50.0}
_BETAS |= {"dcpo": 500.0, "rankdpo": 500.0, "lpo": 500.0, "capo": 500.0, "kto": 250.0}
_EMBEDDED |= {name: {**_EMBEDDED["dpo"], "beta": beta} for name, beta in _BETAS.items()}
_EMBEDDED["dapt"] = _EMBEDDED["clip_align"] = _EMBEDDED["sft"]
# As published where it is: the README runs of LiVO and MaPO. The learning rate of dpo and sft is the one that MaPO's
# authors found for their DPO baseline; the losses of its family have it from there.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "sft": {"lr": 1e-6, "steps": 2000, "batch": 16},
    "dpo": {"lr": 1e-6, "steps": 2000, "batch": 16},
    "mapo": {"lr": 1e-5, "steps": 2000, "batch": 16},
    "livo": {"lr": 1e-6, "steps": 15000, "batch": 8},
}
_PUBLISHED |= {name: _PUBLISHED["dpo"] for name in (*_BETAS, "dapt", "clip_align")}
_OF_THE_LOSS = ("beta", "alpha", "gamma1", "gamma2")


def defaults(embedded: bool, method: str, part: str) -> dict[str, Any]:
    """Default settings and loss options of a method for the embedded model, or as published for every other.

    A value encoder is trained as livo trains it, whatever the loss, so that a comparison of losses is one.
    """
    table = _EMBEDDED if embedded else _PUBLISHED
    preset = dict(table[method])
    if part == "value-encoder" and method != "livo":
        own = {name: value for name, value in preset.items() if name in _OF_THE_LOSS}
        return {**{name: value for name, value in table["livo"].items() if name not in _OF_THE_LOSS}, **own}
    return preset
