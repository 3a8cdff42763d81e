"""Degraded copies of images, which all judges are shown: pairs of which the better image is known beforehand.

Where a judge reads no prompt, as one of aesthetics, another image's prompt tells nothing of it. Of many images some
have a copy, the same ones in every call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from datagen.images import worse
from datagen.images.decode import Unreadable
from datagen.judges import Judge, panel

MOST = 2_000  # images that get a copy, about: more would teach no more


def share(total: int) -> float:
    """The share of so many images that get one."""
    return min(1.0, MOST / max(total, 1))


def to_copy(
    asked: Sequence[panel.Question], digests: Sequence[str | None], share: float
) -> dict[int, tuple[str, panel.Question]]:
    """What is asked of the images that get a copy, with their digests, by their places."""
    return {
        place: (name, dataclasses.replace(question, texts=question.texts[:1], dear=(0,), free=(), embeddings={}))
        for place, (question, name) in enumerate(zip(asked, digests, strict=True))
        if name is not None and question.error is None and question.source is not None and worse.drawn(name, share)
    }


def shown(
    judges: Sequence[Judge], questions: Mapping[int, tuple[str, panel.Question]]
) -> dict[int, tuple[str, panel.Answer]]:
    """The damage of each copy and what the judges that score say of it, by place; of an unreadable image nothing."""
    made: dict[int, panel.Question] = {}
    for place, (name, question) in questions.items():
        if question.source is not None:
            try:
                made[place] = dataclasses.replace(question, source=worse.copy(question.source, name))
            except Unreadable:
                continue  # which its own row says
    if not made:
        return {}
    answers = panel.ask(panel.able(judges, "score"), list(made.values()))
    return {place: (worse.kind_of(questions[place][0]), answer) for place, answer in zip(made, answers, strict=True)}
