"""Pairs of one prompt gathered into lists, for losses that learn from a ranking.

An image's relevance is its reward where the data has rewards, and else the share of its comparisons that it won.
"""

from __future__ import annotations

import dataclasses

from training.data.images import Images
from training.data.pairs import Pairs


@dataclasses.dataclass(frozen=True)
class Lists:
    """N prompts; per prompt the rows of `images` of its images, at least one, and their relevance in [0, 1]."""

    prompts: list[str]
    images: Images
    rows: list[list[int]]
    relevance: list[list[float]]

    def __len__(self) -> int:
        return len(self.prompts)


def as_lists(pairs: Pairs) -> Lists:
    """One list a prompt, in order of first appearance; an image compared several times has the mean of its values.

    A comparison counts as the probability that its label is right. Rewards beyond [0, 1] are scaled so that the least
    of the data becomes 0 and the greatest 1.
    """
    chosen, rejected = _values(pairs)
    lists: dict[str, dict[int, list[float]]] = {}
    for i, prompt in enumerate(pairs.prompts):
        members = lists.setdefault(prompt, {})
        members.setdefault(pairs.chosen[i], []).append(chosen[i])
        members.setdefault(pairs.rejected[i], []).append(rejected[i])
    return Lists(
        prompts=list(lists),
        images=pairs.images,
        rows=[list(members) for members in lists.values()],
        relevance=[[sum(v) / len(v) for v in members.values()] for members in lists.values()],
    )


def _values(pairs: Pairs) -> tuple[list[float], list[float]]:
    """What each comparison says of its chosen and of its rejected image, in [0, 1]."""
    if pairs.chosen_rewards is None or pairs.rejected_rewards is None:
        won = pairs.probabilities or [1.0] * len(pairs)
        return won, [1.0 - p for p in won]
    every = [*pairs.chosen_rewards, *pairs.rejected_rewards]
    least, most = min(0.0, *every), max(1.0, *every)
    if (least, most) != (0.0, 1.0):
        least, most = min(every), max(every)
    span = (most - least) or 1.0
    return [(r - least) / span for r in pairs.chosen_rewards], [(r - least) / span for r in pairs.rejected_rewards]
