"""A vision-language model behind an OpenAI-compatible server, asked yes or no: the probability of "yes".

As VQAScore (Lin et al. 2024, arXiv 2404.01291) asks whether an image shows a text, by the first token's probabilities,
of which the variants of a word (" yes", "Yes") add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges.asking import Asker, Server, ServerOptions, template

if TYPE_CHECKING:
    from PIL import Image

VERSION = "1"
ANSWERS = {"yes": 1.0, "no": 0.0}
SHOWS = 'Does this image show "{}"?'


class Options(ServerOptions):
    """As of every judge that asks a server; its template uses $question."""


class Judge(Asker):
    """Scores by whether an image shows a text, and answers any question."""

    name = "endpoint_yesno"
    scale = 6.0
    facts = judges.Facts(
        code_license="Apache-2.0", weights_license="as the model that is asked", dear=True, absolute=True
    )

    def __init__(self, options: Options) -> None:
        super().__init__(VERSION, Server(options), template("yesno", options.template, frozenset({"question"})))

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | judges.Failed]:
        """(N,) probabilities that the image shows the text."""
        return self.answer(images, [SHOWS.format(prompt) for prompt in prompts])

    def answer(self, images: Sequence[Image.Image], questions: Sequence[str]) -> list[float | judges.Failed]:
        """(N,) probabilities of "yes"."""
        texts = [self._template.fill(question=question) for question in questions]
        replies = self.server.ask([[image] for image in images], texts)
        return [self.server.choice(reply, ANSWERS) for reply in replies]
