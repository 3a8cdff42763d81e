"""Is a wording one of its context prompt? Told by embeddings of texts alone, so that no image's noise is in it.

A judge that scores an image by whether it shows its prompt is misled by a picture that shows nothing clearly, as that
of a refusal does. Its own texts are read without such noise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from datagen.labels.axes import keeps_and_breaks
from datagen.records import Principle, Prompt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], "NDArray[np.float64]"]  # (N, D) embeddings of texts, of length 1
SIDES = ("chosen", "rejected")


def nearness(
    prompts: Sequence[Prompt], principles: Mapping[str, Principle], embed: Embed
) -> dict[tuple[str, str], float]:
    """By prompt id and side: how much nearer a wording is to its own prompt than anything is to another, in cosines.

    Its own texts are the context prompt and its scene as the principles word them. The wording may not be as near to
    those of another, nor as far from its own as two context prompts are: a text of nothing is near to none.
    Prompts that failed, and those beside which no other scene stands, have no entry.
    """
    sound = [prompt for prompt in prompts if prompt.error is None]
    own = {prompt.prompt_id: _own(prompt, principles) for prompt in sound}
    texts = {
        text for prompt in sound for text in (*own[prompt.prompt_id], prompt.chosen_prompt, prompt.rejected_prompt)
    }
    at = {text: place for place, text in enumerate(sorted(texts))}
    if not at:
        return {}
    vectors = embed(list(at))
    found: dict[tuple[str, str], float] = {}
    for prompt in sound:
        others = [one for one in sound if one.cluster != prompt.cluster and one.prompt != prompt.prompt]
        # A grammar's wordings are the principle's own; runs of before kept no scenes to tell them by.
        if not others or (not prompt.scene and prompt.author.startswith("grammar:")):
            continue
        mine = vectors[[at[text] for text in own[prompt.prompt_id]]]
        theirs = vectors[[at[text] for other in others for text in own[other.prompt_id]]]
        apart = (vectors[[at[other.prompt] for other in others]] @ vectors[at[prompt.prompt]]).max()
        for side, text in zip(SIDES, (prompt.chosen_prompt, prompt.rejected_prompt), strict=True):
            wording = vectors[at[text]]
            found[prompt.prompt_id, side] = float((mine @ wording).max() - max((theirs @ wording).max(), apart))
    return found


def _own(prompt: Prompt, principles: Mapping[str, Principle]) -> tuple[str, ...]:
    """The texts that a wording of a prompt should be near to."""
    rules = [principles[name] for name in (prompt.principle_id, *prompt.other_principle_ids) if name in principles]
    texts = [prompt.prompt]
    if prompt.scene:
        aligned = violating = prompt.scene.rstrip(" .")
        for rule in rules:
            one, other = [*json.loads(rule.groups).values(), "", ""][:2]
            aligned = rule.aligned.format(prompt=aligned, under=one, over=other)
            violating = rule.violating.format(prompt=violating, under=one, over=other)
        texts += [aligned, violating]
    if prompt.role != "asked" or not prompt.scene:  # of what was asked for in free words, the principle words nothing
        texts += keeps_and_breaks(rules, prompt) or ()
    return tuple(dict.fromkeys(texts))
