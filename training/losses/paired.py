"""Losses on pairs that measure the model against a frozen reference, and plain denoising as their control.

In every docstring m_w, m_l are the policy's errors on the chosen and the rejected image, r_w, r_l the reference's,
h = (m_l - m_w) - (r_l - r_w) the margin and u = beta/2 · h Diffusion-DPO's logit. A slope is dL/dm_w at h = 0 and,
unless another is given, dL/dm_l is its negative. Where a label is only probably right (p), a loss is the expectation
p · L(h) + (1 - p) · L(-h) over which of the two images is the better one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from training.losses.inputs import Errors, Outcome
from training.losses.registry import Need, Positive, loss
from training.losses.tensors import F

if TYPE_CHECKING:
    from torch import Tensor


def expected(of: Callable[[Tensor], Tensor], logit: Tensor, label: Tensor) -> Tensor:
    """The loss `of` a logit (B,) if the label holds with probability `label` (B,), and of its negative otherwise."""
    return label * of(logit) + (1 - label) * of(-logit)


def nll(logit: Tensor) -> Tensor:
    """-log sigmoid(logit)."""
    return -F.logsigmoid(logit)


@loss()
def sft(errors: Errors) -> Outcome:
    """Plain denoising on the chosen images: the control that every preference loss has to beat.

    L = m_w. Slope 1 in m_w, none in m_l.
    """
    return Outcome(errors.chosen, errors.rejected - errors.chosen)


@loss(
    Need.REFERENCE,
    soft=True,
    embedded={"beta": 500.0},
    # The betas are the paper's; LoRA is trained as by diffusers' scripts. The rate for SDXL is the one that MaPO's
    # authors found for this loss, where the paper's formula gives 8.2e-9 and its launcher 2e-5 for 2048 pairs a step.
    published={
        "sd15": {"beta": 2000.0},
        "sd15-lora": {"lr": 1e-5, "steps": 10000, "batch": 32, "warmup": 0},
        "sdxl": {"beta": 5000.0, "lr": 1e-6},
        "sdxl-lora": {"lr": 1e-5, "steps": 2000, "batch": 16, "warmup": 0},
    },
)
def dpo(
    errors: Errors, *, beta: Positive = 5000.0, smoothing: Annotated[float, Interval(ge=0, lt=0.5)] = 0.0
) -> Outcome:
    """Diffusion-DPO (arXiv 2311.12908, eq. 14) as its released code scales it; with soft labels, conservative DPO.

    L = -q log sigmoid(u) - (1 - q) log sigmoid(-u) with q = p (1 - smoothing) + (1 - p) smoothing; smoothing is the
    share of wrong labels. Slope (2q - 1) beta/4; the pull ends where sigmoid(u) = q. The default beta is the published
    one for SDXL (SD 1.5: 2000). diffusers' SD 1.5 script leaves out the 1/2: its 2500 is 5000 here.
    """
    margin = errors.margin()
    return Outcome(expected(nll, 0.5 * beta * margin, errors.label(smoothing)), margin)


@loss(Need.REFERENCE, Need.CAPTIONS, soft=True, embedded={"beta": 500.0})
def dcpo(errors: Errors, *, beta: Positive = 500.0) -> Outcome:
    """DCPO (arXiv 2502.06023): Diffusion-DPO, each image denoised under its own caption by policy and reference.

    L = -log sigmoid(u), p as in dpo. Slope (2p - 1) beta/4. The captions enter through the errors alone.
    """
    return dpo(errors, beta=beta)


@loss(
    Need.REFERENCE,
    soft=True,
    embedded={"beta": 500.0},
    published={"sd15-lora": {"beta": 1000.0, "lr": 5e-6, "steps": 5000}, "sdxl-lora": {"beta": 2000.0}},
)
def npo(errors: Errors, *, beta: Positive = 1000.0) -> Outcome:
    """Diffusion-NPO (arXiv 2505.11245): Diffusion-DPO with the labels swapped, for guidance's unconditional branch.

    L = -log sigmoid(-u), p as in dpo. Slope -(2p - 1) beta/4: the chosen image is pushed away. The released SD 1.5
    run has beta 500 without the 1/2 of u, hence 1000 here (its SDXL run: 2000, with it).
    """
    ref_chosen, ref_rejected = errors.reference()
    swapped = Errors(errors.rejected, errors.chosen, ref_rejected, ref_chosen, errors.probability)
    return dpo(swapped, beta=beta)


@loss(Need.REFERENCE, soft=True, embedded={"beta": 250.0})
def ipo(errors: Errors, *, beta: Positive = 2500.0) -> Outcome:
    """IPO (arXiv 2310.12036, eq. 17) on the margin: a square that stops at h = 1/(2 beta) instead of running on.

    L = (beta h - 1/2)^2, which is beta^2 (h - 1/(2 beta))^2: the factor moves no minimum, but without it the slope is
    1/beta and the optimizer's epsilon swallows the gradients. No 1/2 in front of beta here, as in diffusers' script.
    Slope (2p - 1) beta; with p the minimum is at h = (2p - 1)/(2 beta).
    """
    margin = errors.margin()
    return Outcome(expected(lambda z: (z - 0.5).square(), beta * margin, errors.label()), margin)


@loss(Need.REFERENCE, soft=True, embedded={"beta": 500.0})
def hinge(errors: Errors, *, beta: Positive = 5000.0) -> Outcome:
    """The hinge of SLiC (arXiv 2305.10425) on Diffusion-DPO's logit, as diffusers' script offers it.

    L = max(0, 1 - u). Slope (2p - 1) beta/2 for all |u| < 1. diffusers leaves out the 1/2 of u: its 2500 is 5000 here.
    """
    margin = errors.margin()
    return Outcome(expected(lambda z: F.relu(1 - z), 0.5 * beta * margin, errors.label()), margin)


@loss(
    Need.REFERENCE,
    Need.PROBABILITY,
    soft=True,
    embedded={"beta": 50.0},
    published={"sd15": {"beta": 2000.0, "steps": 200}, "sdxl": {"beta": 5000.0, "steps": 200}},
)
def smpo(errors: Errors, *, beta: Positive = 5000.0, sensitivity: Positive = 10.0) -> Outcome:
    """SmPO (arXiv 2506.02698, eq. 9): Diffusion-DPO whose logit shrinks with the certainty of the label.

    L = -log sigmoid(sensitivity (2p - 1) u), the paper's 2 alpha - gamma with alpha = gamma p and gamma the
    sensitivity. Slope sensitivity (2p - 1) beta/4; no pull at all at p = 1/2, and p = 1 is dpo at `sensitivity` times
    its beta. The paper's other half, inverted latents, is not a matter of the loss. Its beta for SD 1.5 is 2000.
    """
    if errors.probability is None:
        raise ValueError("this loss needs the probability that each label is right")
    margin = errors.margin()
    return Outcome(nll(sensitivity * (2 * errors.probability - 1) * 0.5 * beta * margin), margin)


@loss(Need.REFERENCE, soft=True, embedded={"beta": 500.0})
def dmpo(
    errors: Errors, *, beta: Positive = 5000.0, alpha: Annotated[float, Interval(gt=0, lt=0.5)] = 0.01
) -> Outcome:
    """DMPO (arXiv 2507.07510): the reverse Kullback-Leibler divergence, where DPO's is the forward one.

    L = KL(Bernoulli(sigmoid(u)) ‖ Bernoulli(q)) with q = p (1 - alpha) + (1 - p) alpha; the paper has certain labels,
    q = 1 - alpha. Slope beta/8 · log(q / (1 - q)); the minimum is at sigmoid(u) = q. It flattens where the model is
    confidently wrong, too. The default alpha is ours; the paper asks for a small one.
    """
    margin = errors.margin()
    u, q = 0.5 * beta * margin, errors.label(alpha)
    prefers, not_prefers = F.logsigmoid(u), F.logsigmoid(-u)
    # Exponentials of these, since the derivative of torch.sigmoid loses its digits where the sigmoid rounds to 1.
    divergence = prefers.exp() * (prefers - q.log()) + not_prefers.exp() * (not_prefers - (-q).log1p())
    return Outcome(divergence, margin)


@loss(Need.REFERENCE, Need.REWARD_GAP, embedded={"beta": 500.0})
def capo(errors: Errors, *, beta: Positive = 5000.0) -> Outcome:
    """CaPO (arXiv 2502.02588): the logit regressed on the gap of the two images' calibrated rewards.

    L = (gap - u)^2, a calibrated reward being the expected win rate against the base model's samples. Slope
    beta · gap; the minimum is at u = gap. The pairs come from Pareto fronts, which is the data's matter. That the
    paper's log-ratio is scaled as Diffusion-DPO's u is our reading, and so is the default beta.
    """
    if errors.reward_gap is None:
        raise ValueError("this loss needs the gap of the calibrated rewards")
    margin = errors.margin()
    return Outcome((errors.reward_gap - 0.5 * beta * margin).square(), margin)


@loss(Need.REFERENCE, embedded={"beta": 250.0})
def pso(errors: Errors, *, beta: Positive = 200.0, factor: float = 0.1) -> Outcome:
    """PSO (arXiv 2410.03190) in its offline form, the customisation of distilled models in the released code.

    L = -log sigmoid(beta · h_d), h_d = (r_w - factor · r_l) - (m_w - factor · m_l), without the 1/2 of u; rejected
    images are the model's own samples. Slopes at h_d = 0: beta/2 in m_w, -factor · beta/2 in m_l. The code can add a
    multiple of m_l against forgetting, on another data stream; that is not part of this loss.
    """
    ref_chosen, ref_rejected = errors.reference()
    margin = (ref_chosen - factor * ref_rejected) - (errors.chosen - factor * errors.rejected)
    return Outcome(nll(beta * margin), margin)
