"""The axes: by which texts and questions every image of a prompt is judged, the same for all of its images.

The two wordings of a prompt come from its writer, so an axis made of them alone believes a writer that exchanges them.
The principle's own wordings around the context prompt do not come from it; and the context prompts of others say what
an image looks like that shows something else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from datagen.records import NEGATIVE, Principle, Prompt

# An image against a text of its prompt: the context prompt, and its wordings.
MATCH, ALIGNED, VIOLATING = "match", "aligned", "violating"
# Against the context prompt as the principle words it, for and against; and against its statement.
KEEPS, BREAKS, STATEMENT = "keeps", "breaks", "statement"
OTHERS = "others"  # against the context prompts of others: the mean
TEXTS = (MATCH, ALIGNED, VIOLATING, KEEPS, BREAKS, STATEMENT, OTHERS)
DEAR = (MATCH, KEEPS, BREAKS)  # what dear judges are asked about
IMAGE = "image"  # of a judge that reads no text
QUESTION = "question"  # the probability that the answer is yes: does the image keep the principle?
SETTLED = "settled"  # not asked: earlier tiers of judges had decided all pairs of the prompt
BEATS = "beats"  # the probability to beat an opponent, which is shown second
WORDING = "wording"  # of the text that an image was drawn from: how much nearer it is to its own prompt than to others
COPY_MARK = "~"  # between the id of an image and the damage of its degraded copy; in no id of an image
OTHER_PROMPTS = 3  # as many are asked about
Questions = Sequence[tuple[str, str]]  # two texts each, "{prompt}" being the context prompt


def control(question: int, side: int) -> str:
    """The axis of a text of a question that the wordings should not touch; `side` 0 or 1."""
    return f"control {question + 1}{'ab'[side]}"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the judges are asked about each image of a prompt; None where there is nothing to ask.

    `texts` are in the order of TEXTS without OTHERS, then those of the others, then two of each question of [labels].
    """

    texts: tuple[str | None, ...]
    question: str | None
    contest: str  # by what two images are compared


def of_dear(asked: Asked) -> tuple[int, ...]:
    """The places of the texts that dear judges are asked about: the context prompt, and both sides of its principle.

    Those are the principle's own or, where it has none, the prompt's wordings.
    """
    wanted = DEAR if asked.texts[TEXTS.index(KEEPS)] is not None else (MATCH, ALIGNED, VIOLATING)
    return tuple(TEXTS.index(axis) for axis in wanted)


def of_shard(
    prompts: Sequence[Prompt], principles: dict[str, Principle], questions: Questions = ()
) -> dict[str, Asked]:
    """What is asked about the images of each prompt, by prompt id."""
    return {prompt.prompt_id: _asked(prompt, prompts, principles, questions) for prompt in prompts}


def by_axis(values: Sequence[float]) -> dict[str, float]:
    """The scores against `Asked.texts` by axis; NaN where there was nothing to ask."""
    own = len(TEXTS) - 1
    others = [value for value in values[own : own + OTHER_PROMPTS] if not math.isnan(value)]
    mean = math.fsum(others) / len(others) if others else math.nan
    controls = enumerate(values[own + OTHER_PROMPTS :])
    return {
        **dict(zip(TEXTS, [*values[:own], mean], strict=True)),
        **{control(*divmod(place, 2)): value for place, value in controls},
    }


def _asked(prompt: Prompt, prompts: Sequence[Prompt], principles: dict[str, Principle], questions: Questions) -> Asked:
    own = [principles[name] for name in (prompt.principle_id, *prompt.other_principle_ids) if name in principles]
    keeps, breaks = keeps_and_breaks(own, prompt) or (None, None)
    statement = own[0].statement if own else None
    # A preference that is not to be applied here is no question to ask of this image.
    applies = own and own[0].kind != "balance" and not (prompt.role == "control" and own[0].kind == "prefer")
    question = f'Does this image keep to the principle "{statement}"?' if applies else None
    others = _others(prompt, prompts)
    # What a negative control was drawn from is not what it is asked about: that is its principle alone.
    wordings = (keeps, breaks) if prompt.role == NEGATIVE else (prompt.chosen_prompt, prompt.rejected_prompt)
    texts = (prompt.prompt, *wordings, keeps, breaks, statement)
    controls = [text.replace("{prompt}", prompt.prompt.rstrip(" .")) for two in questions for text in two]
    return Asked(
        (*texts, *others, *controls), question, f"{prompt.prompt} ({statement})" if applies else prompt.prompt
    )


def _others(prompt: Prompt, prompts: Sequence[Prompt]) -> tuple[str | None, ...]:
    """The context prompts that come after this one in its shard and are not of its cluster, the first again after the
    last; None where there are too few."""
    at = next(place for place, other in enumerate(prompts) if other.prompt_id == prompt.prompt_id)
    after = [*prompts[at + 1 :], *prompts[:at]]
    found = [other.prompt for other in after if other.cluster != prompt.cluster and other.prompt != prompt.prompt]
    texts = list(dict.fromkeys(found))[:OTHER_PROMPTS]
    return (*texts, *[None] * (OTHER_PROMPTS - len(texts)))


def keeps_and_breaks(principles: Sequence[Principle], prompt: Prompt) -> tuple[str, str] | None:
    """How its principles alone word a context prompt: kept, and broken; None if they cannot tell.

    A `balance` cannot: which of its groups a subject lacks is not in it.
    """
    if not principles or principles[0].kind == "balance":
        return None
    first, core = principles[0], prompt.prompt.rstrip(" .")
    if prompt.role == "control":  # what breaks nothing stays as asked, as in writers.wordings
        kept, broken = prompt.prompt, (first.violating if first.kind == "avoid" else first.aligned).format(prompt=core)
    else:
        core = _before_asking(first, core) if prompt.role == "asked" else core
        kept, broken = first.aligned.format(prompt=core), first.violating.format(prompt=core)
    for other in principles[1:]:
        if other.kind != "balance":
            kept, broken = other.aligned.format(prompt=kept), other.violating.format(prompt=broken)
    return kept, broken


def _before_asking(principle: Principle, prompt: str) -> str:
    """A context prompt without the words that ask for the violation; of one in other words, nothing is left."""
    before, _, after = principle.asked.partition("{prompt}")
    if principle.asked and prompt.startswith(before) and prompt.endswith(after) and len(prompt) > len(before + after):
        return prompt[len(before) : len(prompt) - len(after)]
    return "an image"
