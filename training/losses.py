"""The losses, one pure function each, from per-sample errors to a per-sample loss and margin.

Adding a loss is adding one function here: `@loss(...)` registers it by name and says whether it needs a reference, and
its keyword arguments become command-line options. Everything is computed in float32 or better; nothing is averaged.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Errors:
    """Mean squared errors of the predictions, shape (B,) each; the reference's are None where there is none."""

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor | None = None
    ref_rejected: Tensor | None = None

    def reference(self) -> tuple[Tensor, Tensor]:
        """The reference's errors (chosen, rejected). Raises ValueError when the method computed none."""
        if self.ref_chosen is None or self.ref_rejected is None:
            raise ValueError("this loss needs the errors of a reference")
        return self.ref_chosen, self.ref_rejected


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Per-sample loss and margin, shape (B,) each; a margin above zero favours the chosen image."""

    loss: Tensor
    margin: Tensor


@dataclasses.dataclass(frozen=True)
class Loss:
    """A registered loss: the function, whether it reads the reference's errors, and its options with defaults."""

    function: Callable[..., Outcome]
    needs_reference: bool

    @property
    def options(self) -> dict[str, float]:
        """Option name → default value, read from the function's keyword-only arguments."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


LOSSES: dict[str, Loss] = {}


def loss(*, needs_reference: bool) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register the decorated function under its own name."""

    def register(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
        LOSSES[function.__name__] = Loss(function, needs_reference)
        return function

    return register


@loss(needs_reference=False)
def sft(errors: Errors) -> Outcome:
    """Plain denoising on the chosen images: the control that every preference loss has to beat.

    L = m_w. Slope 1 in m_w, none in m_l.
    """
    return Outcome(errors.chosen, errors.rejected - errors.chosen)


@loss(needs_reference=True)
def dpo(errors: Errors, *, beta: float = 5000.0) -> Outcome:
    """Diffusion-DPO (arXiv 2311.12908, eq. 14) as its released code scales it.

    L = -log sigmoid(-beta/2 · [(m_w - m_l) - (r_w - r_l)]). Slope beta/4 in m_w at margin 0.
    """
    ref_chosen, ref_rejected = errors.reference()
    margin = (errors.rejected - errors.chosen) - (ref_rejected - ref_chosen)
    return Outcome(-F.logsigmoid(0.5 * beta * margin), margin)


def mapo_score(x: Tensor) -> Tensor:
    """phi(x) = x / (e^x - 1), falling from 1 at x = 0; finite at 0, where the quotient is replaced by 1 - x/2."""
    small = x < 1e-6
    safe = torch.where(small, torch.ones_like(x), x)
    return torch.where(small, 1 - x / 2, safe / torch.expm1(safe))


@loss(needs_reference=False)
def mapo(errors: Errors, *, beta: float = 0.1, kappa: float = 0.5, timescale: float = 1000.0) -> Outcome:
    """MaPO (arXiv 2406.06424) in the form of its released code.

    z = T · (phi(kappa·m_w) - phi(kappa·m_l)); L = m_w - beta · log sigmoid(z). With the defaults the slope in m_w is
    1 + 12.5 at z = 0 and at most 1 + 25. `beta` is the code's `beta_mapo`, not the beta of the paper's later version;
    `kappa` is its `snr_value`, a constant; `timescale` is T, the number of training timesteps.
    """
    z = timescale * (mapo_score(kappa * errors.chosen) - mapo_score(kappa * errors.rejected))
    return Outcome(errors.chosen - beta * F.logsigmoid(z), errors.rejected - errors.chosen)


@loss(needs_reference=True)
def livo(
    errors: Errors, *, beta: float = 1000.0, alpha: float = 500.0, gamma1: float = 1.0, gamma2: float = 0.5
) -> Outcome:
    """LiVO (arXiv 2410.12700): two hinges against the same frozen model without the value token.

    L = max(0, gamma1 + beta·(m_w - r_w)) + max(0, gamma2 + alpha·(r_l - m_l)). The first stops once the chosen error
    is gamma1/beta below the reference's, the second once the rejected error is gamma2/alpha above it. Slopes beta and
    -alpha until then, 0 after. The defaults are those of the published run on Stable Diffusion 1.5.
    """
    ref_chosen, ref_rejected = errors.reference()
    pull = F.relu(gamma1 + beta * (errors.chosen - ref_chosen))
    push = F.relu(gamma2 + alpha * (ref_rejected - errors.rejected))
    margin = (errors.rejected - ref_rejected) - (errors.chosen - ref_chosen)
    return Outcome(pull + push, margin)
