"""MaPO (arXiv 2406.06424), which needs no reference: the form of its released code and two readings of its paper's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from training.losses.inputs import Errors, Outcome
from training.losses.registry import loss
from training.losses.tensors import F, torch

if TYPE_CHECKING:
    from torch import Tensor


def mapo_score(x: Tensor) -> Tensor:
    """phi(x) = x / (e^x - 1) for x >= 0, falling from 1 at 0; exact to rounding, in its derivative too, everywhere.

    Near 0 the quotient's derivative is a difference of two huge numbers, so there the Taylor series stands in for it.
    """
    small = x < 0.05
    safe = torch.where(small, torch.ones_like(x), x)
    quotient = safe * torch.exp(-safe) / -torch.expm1(-safe)  # by e^-x, which cannot overflow
    s = x.square()
    series = 1 - x / 2 + s / 12 - s * s / 720 + s * s * s / 30240
    return torch.where(small, series, quotient)


def on_the_scale_of_its_form(*, beta: float, form: str, **rest: float) -> None:
    """Refuse a beta of the released code with a form of the paper, or the other way round. Raises ValueError."""
    if (form == "code") != (beta <= 1):
        other = "its paper; see --form" if form == "code" else "the released code: give --beta, 8 to 1024"
        raise ValueError(f"mapo: beta {beta:g} with form {form} is on the scale of {other}")


@loss(
    check=on_the_scale_of_its_form,
    # LoRA: full fine-tuning changes the style whatever the prompt says, these weights only where it leaves it open.
    embedded={"lr": 2e-3, "steps": 1200, "schedule": "cosine", "uncond_share": 0.15, "lora_rank": 32},
    published={
        "sdxl": {"lr": 1e-5, "steps": 2000, "batch": 16, "warmup": 0},  # README of github.com/mapo-t2i/mapo
        "sdxl-lora": {"lr": 1e-5, "steps": 2000, "batch": 16, "warmup": 0},
    },
)
def mapo(
    errors: Errors,
    *,
    beta: float = 0.1,
    kappa: float = 0.5,
    timescale: float = 1000.0,
    form: Literal["code", "exponent", "factor"] = "code",
) -> Outcome:
    """MaPO in one of three forms; phi is `mapo_score`, m_w and m_l the errors.

    code (released code): L = m_w - beta log sigmoid(z), z = T (phi(kappa m_w) - phi(kappa m_l)). `beta` is the code's
    `beta_mapo`, `kappa` its `snr_value` (a constant), `timescale` is T, the number of training timesteps. Slopes with
    the defaults: 1 + 12.5 in m_w and -12.5 in m_l at z = 0, at most 1 + 25 and -25.
    exponent, factor (version 2 of the paper, eqs. 9-11): L = m_w - 1/beta log sigmoid(phi_b(m_w) - phi_b(m_l)). Which
    phi_b eq. 11 has could not be settled: phi(x)^beta, which keeps phi_b in (0, 1) as the text claims, or
    beta phi(x). Slopes at equal errors near 0: 1 + 1/4 and -1/4; the published betas are 8 to 1024;
    kappa and T play no part.
    """
    if form == "code":
        score_chosen, score_rejected = (
            timescale * mapo_score(kappa * error) for error in (errors.chosen, errors.rejected)
        )
        weight = beta
    else:
        scores = mapo_score(errors.chosen), mapo_score(errors.rejected)
        score_chosen, score_rejected = (beta * score if form == "factor" else score**beta for score in scores)
        weight = 1 / beta
    loss_margin = -F.logsigmoid(score_chosen - score_rejected)
    return Outcome(errors.chosen + weight * loss_margin, errors.rejected - errors.chosen)
