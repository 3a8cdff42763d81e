"""The loss on single images, each labelled desirable or not."""

from __future__ import annotations

from training.losses.inputs import Outcome, Unpaired
from training.losses.registry import Need, Positive, loss
from training.losses.tensors import F, torch


@loss(
    Need.REFERENCE,
    Need.SINGLE_IMAGES,
    embedded={"beta": 250.0},
    published={"sd15-lora": {"beta": 1000.0, "lr": 1e-7}},
)
def kto(
    images: Unpaired, *, beta: Positive = 1000.0, desirable_weight: float = 1.0, undesirable_weight: float = 1.0
) -> Outcome:
    """Diffusion-KTO (arXiv 2404.04465) with the sigmoid utility, as released.

    L = w · (1 - sigmoid(±beta · (r - m - k))), + and `desirable_weight` for desirable images, - and the other weight
    for the rest; k = max(0, mean of r - m over the batch), without gradients, stands for the divergence from the
    reference. It is the only number here that looks beyond its sample. Slope in m: ±w beta/4 at r - m = k. The
    released default of beta is 1000.
    """
    gain = images.ref_error - images.error
    mean = gain.mean() if images.gain is None else images.gain
    gain = gain - mean.clamp(min=0).detach()
    wanted = images.desirable.bool()
    sign = torch.where(wanted, 1.0, -1.0).to(gain)
    weight = torch.where(wanted, desirable_weight, undesirable_weight).to(gain)
    # 1 - sigmoid(x) is sigmoid(-x); by its logarithm, value and derivative keep their digits at both ends.
    return Outcome(weight * F.logsigmoid(-sign * beta * gain).exp(), sign * gain)
