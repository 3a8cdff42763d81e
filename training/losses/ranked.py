"""Losses on ranked lists of images of one prompt.

s_i = m_i - r_i is how much worse than the reference the policy denoises image i; better images should have a lower s.
Both losses reduce to dpo on a list of two (RankDPO with a weight), since both scale s by beta/2 as dpo does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.losses.inputs import Outcome, Ranked
from training.losses.registry import Need, Positive, loss
from training.losses.tensors import F, torch

if TYPE_CHECKING:
    from torch import Tensor


def better(relevance: Tensor) -> Tensor:
    """(B, K) → (B, K, K), True at [b, i, j] where image i is better than image j; never for an empty place."""
    return relevance[:, :, None] > relevance[:, None, :]


def advantages(lists: Ranked) -> tuple[Tensor, Tensor]:
    """s_j - s_i at [b, i, j], 0 unless i is better than j, shape (B, K, K); and its mean over those pairs, (B,)."""
    s = lists.error - lists.ref_error
    ordered = better(lists.relevance)
    gaps = torch.where(ordered, s[:, None, :] - s[:, :, None], 0)
    return gaps, gaps.sum((1, 2)) / ordered.sum((1, 2)).clamp(min=1)


@loss(Need.REFERENCE, Need.LISTS, embedded={"beta": 500.0})
def rankdpo(lists: Ranked, *, beta: Positive = 5000.0) -> Outcome:
    """RankDPO (arXiv 2410.18013, eqs. 5-7): DPO over all ordered pairs of a list, weighted as DCG weights a swap.

    L = -sum over i better than j of D_ij log sigmoid(beta/2 (s_j - s_i)), with
    D_ij = |2^psi_i - 2^psi_j| · |1/log(1 + rank_i) - 1/log(1 + rank_j)|, psi the relevance. Slope of one pair:
    D_ij beta/4. Our readings: rank is the place in the labelled order, 1 for the best and equal for ties, so weights
    are constants; log is natural; beta has dpo's 1/2.
    """
    ordered = better(lists.relevance)
    rank = 1 + ordered.sum(1)
    gain, discount = torch.exp2(lists.relevance), 1 / torch.log1p(rank.to(lists.relevance))
    weight = (gain[:, :, None] - gain[:, None, :]).abs() * (discount[:, :, None] - discount[:, None, :]).abs()
    gaps, margin = advantages(lists)
    # The mask is on the weight, not on the sum: an empty place has a NaN for gain, and 0 · NaN would reach the errors.
    losses = -torch.where(ordered, weight, 0) * F.logsigmoid(0.5 * beta * gaps)
    return Outcome(losses.sum((1, 2)), margin)


@loss(Need.REFERENCE, Need.LISTS, embedded={"beta": 500.0})
def lpo(lists: Ranked, *, beta: Positive = 5000.0) -> Outcome:
    """Diffusion-LPO (arXiv 2510.01540): the likelihood of the labelled order under Plackett and Luce's model.

    L = sum over i of log(1 + sum over j worse than i of e^(-beta/2 (s_j - s_i))): minus the logarithms of
    e^(-beta/2 s_i) over the sum of this for i and all worse images, the chance that i is drawn first of them. Images
    that tie are not compared. Slope in m_i at equal s, with n_i images worse than i:
    beta/2 (n_i/(n_i + 1) - sum over k better than i of 1/(n_k + 1)).
    """
    gaps, margin = advantages(lists)
    # The lowest finite number, not -inf: the last image has no rivals, and the gradient of an empty sum is NaN.
    rivals = (-0.5 * beta * gaps).masked_fill(~better(lists.relevance), torch.finfo(gaps.dtype).min)
    return Outcome(-F.logsigmoid(-rivals.logsumexp(2)).sum(1), margin)
