"""Quality: CLIPScore of an arm, FID between two sets of images, Inception Score; torchmetrics computes FID and IS.

Features come from outside (features.py), so the name of a figure says which network they are of. FID and IS are
figures of a whole set: with few images they are biased, and only sets of one size can be compared.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from training.evaluation.bootstrap import Mean, Single, mean
from training.evaluation.observations import Observations

SPLITS, FULL = 10, 5000  # the mean over ten splits of Salimans et al. 2016 (arXiv 1606.03498), who have 50,000 images


def clipscore(observed: Observations, model: str) -> dict[str, Mean]:
    """100 max(cos(image, prompt), 0), as torchmetrics and LiVO have it; Hessel et al., arXiv 2104.08718, has 2.5."""
    if observed.cosines is None:
        return {}
    scores = 100 * np.maximum(observed.cosines, 0)
    return {f"clipscore.{model}": mean(observed.prompt_of, scores, len(observed.prompts))}


def fid(one: np.ndarray, other: np.ndarray) -> float:
    """Fréchet distance of two sets of features, (N, D) and (M, D), N, M ≥ 2 (Heusel et al. 2017, arXiv 1706.08500)."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(one.shape[1]))
    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(one.astype(np.float64)), real=True)
    metric.update(torch.from_numpy(other.astype(np.float64)), real=False)
    return max(0.0, float(metric.compute()))  # fewer images than features can give a hair below


def fid_by_chance(one: np.ndarray, other: np.ndarray, seed: int = 0) -> float:
    """FID of two sets that do not differ: a random half of the same-seed pairs (N, D) changes sides.

    What is left is the bias of a finite sample: a drift shows as far as FID lies above it.
    """
    swap = np.random.default_rng(seed).permutation(len(one)) < len(one) // 2
    return fid(np.where(swap[:, None], other, one), np.where(swap[:, None], one, other))


def inception_score(logits: np.ndarray, seed: int = 0) -> Single:
    """exp(E KL(p(y|x) ‖ p(y))) from class logits (N, K); from 5,000 images on the mean over ten splits of a shuffle.

    Fewer are not split: a part's score cannot be above the number of its images.
    """
    from torchmetrics.image.inception import InceptionScore

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # of the features it keeps, and of the spread of a single split
        torch.manual_seed(seed)
        metric = InceptionScore(feature=_Given(logits.shape[1]), splits=SPLITS if len(logits) >= FULL else 1)
        metric.update(torch.from_numpy(logits.astype(np.float64)))
        value, _ = metric.compute()
    return Single(float(value), len(logits))


class _Given(nn.Module):
    """Stands in torchmetrics' place for a network: what is given are features already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features
