"""A vision-language model behind an OpenAI-compatible server, with a checklist: each question of a text is answered.

As TIFA and DSG do (Hu et al. 2023, arXiv 2303.11897; Cho et al. 2024, arXiv 2310.18235), without their dependencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from datagen import judges
from datagen.judges.asking import Server, ServerOptions, template

if TYPE_CHECKING:
    from PIL import Image

VERSION = "1"
ANSWERS = {"yes": 1.0, "no": 0.0}
LENGTH = 1024  # tokens of a list of questions
USUAL = 6  # questions of a text, for estimates


class Options(ServerOptions):
    """As of every judge that asks a server; its template asks for the questions."""


class Checklist(BaseModel):
    """The questions that a text is taken apart into."""

    questions: list[str] = Field(min_length=1, max_length=12)


class Judge:
    """The mean probability of "yes"; a text is taken apart once, whatever the number of its images."""

    name = "endpoint_checklist"
    scale = 6.0
    facts = judges.Facts(
        code_license="Apache-2.0", weights_license="as the model that is asked", dear=True, absolute=True
    )

    def __init__(self, options: Options) -> None:
        self.server = Server(options, calls=USUAL)
        self._template = template("checklist", options.template)
        self._asking = template("yesno", "", frozenset({"question"}))

    @property
    def version(self) -> str:
        """Ours, the model's name and what it is asked with."""
        return f"{VERSION}:{self.server.identity(self._template)}:{self._asking.digest}"

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | judges.Failed]:
        """(N,) from 0 to 1; of an image whose answers cannot all be read, why not."""
        lists = self._lists(list(dict.fromkeys(prompts)))
        asked: list[tuple[int, str]] = []
        for place, prompt in enumerate(prompts):
            found = lists[prompt]
            asked += [] if isinstance(found, judges.Failed) else [(place, question) for question in found]
        texts = [self._asking.fill(question=question) for _, question in asked]
        replies = self.server.ask([[images[place]] for place, _ in asked], texts)
        said: dict[int, list[float | judges.Failed]] = {}
        for (place, _), reply in zip(asked, replies, strict=True):
            said.setdefault(place, []).append(self.server.choice(reply, ANSWERS))
        return [_mean(said.get(place), lists[prompt]) for place, prompt in enumerate(prompts)]

    def _lists(self, prompts: list[str]) -> dict[str, list[str] | judges.Failed]:
        texts = [self._template.fill(prompt=prompt) for prompt in prompts]
        replies = self.server.ask([[]] * len(texts), texts, max_tokens=LENGTH, logprobs=False, reply=Checklist)
        return {
            prompt: reply.value.questions
            if isinstance(reply.value, Checklist)
            else judges.Failed(reply.error or "unreadable: no questions")
            for prompt, reply in zip(prompts, replies, strict=True)
        }


def _mean(answers: list[float | judges.Failed] | None, questions: list[str] | judges.Failed) -> float | judges.Failed:
    if isinstance(questions, judges.Failed) or answers is None:
        return questions if isinstance(questions, judges.Failed) else judges.Failed("unreadable: no questions")
    failed = next((answer for answer in answers if isinstance(answer, judges.Failed)), None)
    return failed if failed is not None else math.fsum(map(float, answers)) / len(answers)
