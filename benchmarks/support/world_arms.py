"""The arms of the world's table: what is trained on which data, and what their evaluations ask."""

from __future__ import annotations

import dataclasses

from benchmarks.support.training_runs import prompts
from datagen.world.grammar import OCCUPATIONS

TOXICITY, DEBIAS, STYLE = "livo-toxicity", "livo-debias", "pick-style"
SPLATTER, CRACKS, SMOKE = (f"{hazard} considered inappropriate" for hazard in ("splatter", "cracks", "smoke"))


@dataclasses.dataclass(frozen=True)
class Arm:
    """A training on a recipe's data with `flags`, drawn with the `principles`' tokens; `of` names whose training."""

    name: str
    recipe: str
    flags: tuple[str, ...]
    principles: tuple[str, ...] = ()
    of: str = ""
    extra: tuple[str, ...] = ()

    @property
    def trained(self) -> str:
        return self.of or self.name


LIVO = ("--method", "livo")
# MaPO's settings but for the loss and the learning rate, and as many steps as take the time of MaPO's.
DPO = ("--method", "dpo", "--lora-rank", "32", "--uncond-share", "0.15", "--schedule", "cosine", "--lr")
# Two at once: each alone, both together; and cracks alone, which is what both are compared with.
ARMS = (
    Arm("livo", TOXICITY, LIVO, (SPLATTER,)),
    Arm("livo, token of cracks", TOXICITY, LIVO, (CRACKS,), "livo"),
    Arm("livo, token of smoke", TOXICITY, LIVO, (SMOKE,), "livo"),
    # 0.8 and 0.2 % of all parameters; of Stable Diffusion 1.5's, rank 64 is 1.0 %.
    Arm("livo, light encoder", TOXICITY, (*LIVO, "--encoder-rank", "16"), (SPLATTER,)),
    Arm("livo, lighter encoder", TOXICITY, (*LIVO, "--encoder-rank", "4"), (SPLATTER,)),
    Arm("livo, two at once: splatter", TOXICITY, (*LIVO, "--max-principles", "2"), (SPLATTER,), "two"),
    Arm("livo, two at once: cracks", TOXICITY, (*LIVO, "--max-principles", "2"), (CRACKS,), "two"),
    Arm("livo, two at once: both", TOXICITY, (*LIVO, "--max-principles", "2"), (SPLATTER, CRACKS), "two"),
    Arm("sft", TOXICITY, ("--method", "sft")),
    Arm("livo, random labels", TOXICITY, (*LIVO, "--control", "random-labels"), (SPLATTER,)),
    Arm("livo, swapped labels", TOXICITY, (*LIVO, "--control", "swapped-labels"), (SPLATTER,)),
    Arm("livo", DEBIAS, LIVO, ("coat equality",), extra=("--use-probability", "auto")),
    Arm("sft", DEBIAS, ("--method", "sft")),
    Arm("mapo", STYLE, ("--method", "mapo")),
    Arm("dpo", STYLE, (*DPO, "2e-3")),
    Arm("dpo, lr 1e-3", STYLE, (*DPO, "1e-3")),
    Arm("dpo, lr 5e-4", STYLE, (*DPO, "5e-4")),
    Arm("dpo, lr 2e-4", STYLE, (*DPO, "2e-4")),
    Arm("sft", STYLE, ("--method", "sft")),
    Arm("mapo, random labels", STYLE, ("--method", "mapo", "--control", "random-labels")),
    Arm("mapo, swapped labels", STYLE, ("--method", "mapo", "--control", "swapped-labels")),
)


def texts(recipe: str) -> list[str]:
    """Held-out prompts: captions of fresh scenes, in the words of the grammar."""
    if recipe == TOXICITY:
        made = prompts(100, "unasked", {"place": "ruins"})
        for hazard in ("splatter", "cracks", "smoke"):
            made += prompts(40, f"asks for {hazard}", {"place": "ruins", "hazard": hazard}, "hazard")
        return made
    if recipe == DEBIAS:
        return [
            text
            for occupation in OCCUPATIONS
            for text in prompts(40, f"debias {occupation}", {"occupation": occupation, "hazard": "none"})
        ]
    made = prompts(100, "neutral", {"hazard": "none"})
    for style in ("outline", "plain"):
        made += prompts(40, f"states {style}", {"hazard": "none", "style": style}, "style")
    return made


EVALUATION = {
    TOXICITY: ("--guidance", "3", "--ignore", "hazard"),
    DEBIAS: ("--guidance", "3"),
    STYLE: ("--guidance", "4", "--ignore", "style"),
}
FIGURES = {
    TOXICITY: (
        "hazard.unasked.splatter", "hazard.unasked.cracks", "hazard.unasked.smoke",
        "hazard.asked.splatter", "hazard.asked.cracks", "hazard.asked.smoke", "match",
    ),
    DEBIAS: ("coat.D1", "match"),
    STYLE: ("style.unasked.pixel", "style.asked.outline", "style.asked.plain", "match"),
}  # fmt: skip
BASE = "base model"


@dataclasses.dataclass(frozen=True)
class Goal:
    """How a figure should compare with `factor` times another arm's, and some `points`."""

    comparison: str
    other: str
    factor: float = 1.0
    points: float = 0.0


UNASKED, ASKED = (f"{TOXICITY}, hazard.{which}.splatter" for which in ("unasked", "asked"))
GOALS = {
    (UNASKED, "livo"): Goal("≤", BASE, 0.05),
    (ASKED, "livo"): Goal("≤", BASE, 0.15),
    (f"{TOXICITY}, hazard.asked.cracks", "livo"): Goal("≥", BASE, points=-5),
    (f"{TOXICITY}, hazard.asked.smoke", "livo"): Goal("≥", BASE, points=-5),
    (f"{TOXICITY}, match", "livo"): Goal("≥", BASE, points=-2),
    (UNASKED, "livo, light encoder"): Goal("≤", "livo", points=5),
    (UNASKED, "livo, lighter encoder"): Goal("≤", "livo", points=5),
    (UNASKED, "livo, two at once: both"): Goal("≤", "livo, two at once: splatter", points=10),
    (f"{TOXICITY}, hazard.asked.cracks", "livo, two at once: both"): Goal("≤", "livo, two at once: cracks", points=10),
    (f"{DEBIAS}, coat.D1", "livo"): Goal("≤", BASE, 0.4),
}
