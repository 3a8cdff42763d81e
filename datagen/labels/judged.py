"""What is known of a prompt when its images are judged: the rows of all tables that belong to it, together."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from datagen.errors import ModelError
from datagen.judges import JUDGES, Judge, panel
from datagen.labels import aggregate
from datagen.labels.aggregate import Reading, Values
from datagen.recipe import JudgeChoice
from datagen.records import Image, Principle, Prompt, Score

# judge → axis → score of one image
Scored = Mapping[str, Mapping[str, float | None]]


@dataclasses.dataclass(frozen=True)
class Judged:
    """A prompt with its principles, the one that takes precedence first, its images, and their scores by id.

    `readings` say how each judge's scores are read, in the profile's order. `others` are images of other prompts that
    were judged by this one: what they got by their ids.
    """

    prompt: Prompt
    principles: list[Principle]
    images: list[Image]
    scored: Mapping[str, Scored]
    readings: Mapping[str, Reading]
    others: Mapping[str, Scored] = dataclasses.field(default_factory=dict)

    def leans(self, image: Image, by: Callable[[Reading, Values], float | None]) -> list[float | None]:
        """What each judge says of an image in log-odds; None where it abstained or was not asked."""
        return self.read(self.scored[image.image_id], by)

    def read(self, scored: Scored, by: Callable[[Reading, Values], float | None]) -> list[float | None]:
        """The same of what the judges gave one image."""
        return [by(reading, scored.get(name, {})) for name, reading in self.readings.items()]

    def shares(self, image: Image, axis: str) -> list[float]:
        """How far an image shows what a text states, by the judges for which a score is a share of it."""
        scored = self.scored[image.image_id]
        found = [scored.get(name, {}).get(axis) for name, reading in self.readings.items() if reading.absolute]
        return [value for value in found if value is not None]


def readings(judges: Iterable[Judge]) -> dict[str, Reading]:
    """How the scores of these judges are read; that loads no model."""
    return {judge.name: Reading(judge.scale, judge.facts.higher_is_better, judge.facts.absolute) for judge in judges}


def readings_of(choices: Iterable[JudgeChoice]) -> dict[str, Reading]:
    """The same of judges by name, in order; where one's weights are not here, its file tells it.

    Raises ModelError if there is no such file, or if it tells only with the weights.
    """
    found: dict[str, Reading] = {}
    for choice in choices:
        try:
            found |= readings(panel.load([choice]))
        except ModelError:
            kind = JUDGES.module(choice.name).Judge
            if not isinstance(getattr(kind, "scale", None), int | float) or not hasattr(kind.facts, "absolute"):
                raise
            found |= readings([kind])
    return found


def by_prompt(
    prompts: Sequence[Prompt],
    principles: Iterable[Principle],
    images: Iterable[Image],
    scores: Iterable[Score],
    readings: Mapping[str, Reading],
) -> Iterator[Judged]:
    """The rows of a shard prompt by prompt. Of a judge with several scores an image, the first is the one that counts.

    Comparisons become how probably an image beats those it met.
    """
    known = {principle.principle_id: principle for principle in principles}
    table: dict[tuple[str, str], dict[str, dict[str, float | None]]]
    table = collections.defaultdict(lambda: collections.defaultdict(dict))
    duels: dict[tuple[str, str, str], dict[tuple[str, str], float | None]] = collections.defaultdict(dict)
    for score in scores:
        if score.opponent:
            duels[score.prompt_id, score.judge, score.axis][score.image_id, score.opponent] = score.value
        else:
            table[score.prompt_id, score.image_id][score.judge].setdefault(score.axis, score.value)
    for (prompt_id, judge, axis), met in duels.items():
        for image_id, value in aggregate.standing(met).items():
            table[prompt_id, image_id][judge][axis] = value
    own: dict[str, list[Image]] = collections.defaultdict(list)
    for image in images:
        own[image.prompt_id].append(image)
    by_name: dict[str, dict[str, Scored]] = collections.defaultdict(dict)
    for (prompt_id, image_id), said in table.items():
        by_name[prompt_id][image_id] = said
    for prompt in prompts:
        first_to_last = [known[name] for name in (prompt.principle_id, *prompt.other_principle_ids) if name in known]
        mine = own[prompt.prompt_id]
        scored = {image.image_id: table[prompt.prompt_id, image.image_id] for image in mine}
        others = {name: said for name, said in by_name[prompt.prompt_id].items() if name not in scored}
        yield Judged(prompt, first_to_last, mine, scored, readings, others)
