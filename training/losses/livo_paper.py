"""LiVO's loss (arXiv 2410.12700) and the baselines of its paper that are not Diffusion-DPO.

The paper's own definitions of DAPT and CLIP-Align are not public: those here are ours. All are meant for the same
trainable part, so that a table of them compares losses and nothing else.
"""

from __future__ import annotations

from training.losses.inputs import Errors, Outcome, Similarities
from training.losses.paired import sft
from training.losses.registry import Need, Positive, loss
from training.losses.tensors import F


@loss(
    Need.REFERENCE,
    part="value-encoder",  # the reference is the model without its token
    # The embedded model's errors are larger than Stable Diffusion's and so are the margins: gamma1/beta and
    # gamma2/alpha are in units of mean squared error.
    embedded={"beta": 100.0, "alpha": 100.0, "gamma1": 1.0, "gamma2": 3.0},
    published={"sd15-value-encoder": {"lr": 1e-6, "steps": 15000, "batch": 8}},  # README of achernarwang/LiVO
)
def livo(
    errors: Errors, *, beta: float = 1000.0, alpha: float = 500.0, gamma1: float = 1.0, gamma2: float = 0.5
) -> Outcome:
    """LiVO as released: two hinges against the same frozen model without the value token.

    L = max(0, gamma1 + beta·(m_w - r_w)) + max(0, gamma2 + alpha·(r_l - m_l)). The first stops once the chosen error
    is gamma1/beta below the reference's, the second once the rejected error is gamma2/alpha above it. Slopes beta and
    -alpha until then, 0 after. The defaults are those of the published run on Stable Diffusion 1.5.
    """
    ref_chosen, ref_rejected = errors.reference()
    pull = F.relu(gamma1 + beta * (errors.chosen - ref_chosen))
    push = F.relu(gamma2 + alpha * (ref_rejected - errors.rejected))
    return Outcome(pull + push, errors.margin())


@loss()
def dapt(errors: Errors) -> Outcome:
    """DAPT, our definition: training continued on the aligned images alone. Per sample it is sft.

    L = m_w. Slope 1 in m_w, none in m_l. It has a name of its own because the paper's table has.
    """
    return sft(errors)


@loss(Need.SIMILARITIES)
def clip_align(similarities: Similarities, *, scale: Positive = 100.0) -> Outcome:
    """CLIP-Align, our definition: CLIP's own choice between the two descriptions of the predicted clean image.

    L = -log sigmoid(scale · (s_aligned - s_violating)), the cross-entropy of a softmax over the two; 100 is the
    logit scale that CLIP was trained to. Slopes -scale/2 in s_aligned and scale/2 in s_violating at equal similarity.
    """
    margin = similarities.aligned - similarities.violating
    return Outcome(-F.logsigmoid(scale * margin), margin)
