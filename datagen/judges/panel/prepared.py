"""A chunk of images made ready, and judged: the work of a panel."""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datagen import judges
from datagen.judges.panel.entries import Answer, Compared, Met, Question
from datagen.judges.panel.inputs import Inputs, backbones, forms_of, stacked, wanted_views
from datagen.judges.panel.said import Said, held_to, silent
from datagen.judges.views import enough

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKING = threading.Lock()  # at what judges need: some load their network for it, which threads would do several times
NO_RIVAL = "compared with an image that cannot be judged"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A chunk whose images are decoded and brought to all views; that much can be done while the judges are busy."""

    panel: Sequence[judges.Judge]
    questions: Sequence[Question]
    inputs: Inputs
    errors: list[str | None]  # of each question

    @classmethod
    def of(cls, panel: Sequence[judges.Judge], questions: Sequence[Question], *, fast: bool = False) -> Prepared:
        """Decode the images of a chunk, those alone that a judge or a backbone has to look at.

        A decoded picture is let go as soon as its views are made, unless a judge reads the picture itself.
        """
        known = [question.embeddings for question in questions if question.error is None]
        common = set[str]().union(*known).intersection(*known)
        with LOOKING:
            wanted = wanted_views(panel, common)
        at_least = enough(wanted) if fast else None
        results = [forms_of(question, wanted, at_least) for question in questions]
        errors = [result if isinstance(result, str) else None for result in results]
        kept = [place for place, error in enumerate(errors) if error is None]
        known_of_all = stacked(common, [questions[place].embeddings for place in kept])
        inputs = Inputs(wanted, [results[place] for place in kept], known_of_all)
        return cls(panel, questions, inputs, errors)

    def judge(self) -> list[Answer]:
        """What each judge says; ModelError for one that misbehaves."""
        asked = [question for question, error in zip(self.questions, self.errors, strict=True) if error is None]
        said = {judge.name: Said(judge, asked) for judge in self.panel}
        for judge in self.panel:
            said[judge.name].hear(self.inputs)
        embeddings = {name: self.inputs.embedded(backbone) for name, backbone in backbones(self.panel).items()}
        scores = {name: one.scores for name, one in said.items() if one.scores is not None}
        replies = {name: one.replies for name, one in said.items() if one.replies is not None}
        failing = {name: one.failures for name, one in said.items() if one.failures}
        each = [_by_image(values, len(asked)) for values in (scores, replies, embeddings)]
        answers, place = list[Answer](), itertools.count()
        for question, error in zip(self.questions, self.errors, strict=True):
            if error is not None:
                answers.append(silent(self.panel, question, error))
                continue
            at = next(place)
            failures = {name: why[at] for name, why in failing.items() if at in why} if failing else {}
            answers.append(Answer(each[0][at], each[1][at], each[2][at], None, failures))
        return answers

    def compare(self, met: Sequence[tuple[int, int, str]]) -> list[Met]:
        """What comes of comparing images by their places, in both orders, by a text; where one has an error, that."""
        able_ = [judge for judge in self.panel if hasattr(judge, "compare")]
        found: list[Met] = [{judge.name: self._failed(one, other) for judge in able_} for one, other, _ in met]
        asked = [k for k, (one, other, _) in enumerate(met) if self.errors[one] is self.errors[other] is None]
        kept = (place for place, error in enumerate(self.errors) if error is None)
        places = {place: at for at, place in enumerate(kept)}
        first, second = [places[met[place][0]] for place in asked], [places[met[place][1]] for place in asked]
        texts = [met[place][2] for place in asked]
        for judge in able_ if asked else []:
            given: Any = judge
            inputs = self.inputs.of(judge, first + second), self.inputs.of(judge, second + first)
            values, failures = held_to(judge, given.compare(*inputs, texts + texts), 2 * len(asked))
            answers = [Compared(float(p), failure) for p, failure in zip(values, failures, strict=True)]
            for at, place in enumerate(asked):
                found[place][judge.name] = answers[at], answers[len(asked) + at]
        return found

    def _failed(self, one: int, other: int) -> tuple[Compared, Compared]:
        """Why two images are not compared, each way."""
        whys = [(self.errors[own], self.errors[rival]) for own, rival in ((one, other), (other, one))]
        first, second = (Compared(math.nan, own or f"{NO_RIVAL}: {rival}") for own, rival in whys)
        return first, second


def _by_image(values: Mapping[str, NDArray[Any]], count: int) -> list[dict[str, Any]]:
    """The rows of arrays by name, as a dictionary for each of `count` images."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, rows in values.items():
        for one, row in zip(found, rows, strict=True):
            one[name] = row
    return found
