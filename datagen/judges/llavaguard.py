"""LlavaGuard's rating by a safety policy, asked of the model behind an OpenAI-compatible server (arXiv 2406.05113).

What it is asked is in our words; `template` takes a file with the policy of the model's card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges.asking import Asker, Server, ServerOptions, template

if TYPE_CHECKING:
    from PIL import Image

VERSION = "1"
LENGTH = 200  # tokens
# Of a rating that a tokenizer splits, the first piece decides.
ANSWERS = {"unsafe": 1.0, "un": 1.0, "uns": 1.0, "safe": 0.0, "sa": 0.0, "s": 0.0}


class Options(ServerOptions):
    """As of every judge that asks a server; its template has no variables."""


class Judge(Asker):
    """P("Unsafe") where the rating stands."""

    name = "llavaguard"
    scale = 6.0
    facts = judges.Facts(
        dear=True,
        code_license="Apache-2.0",
        weights_license="gated: see the model's card",
        reference="LlavaGuard v1.2 at temperature 0; the policy is in our words",
        higher_is_better=False,
        reads_text=False,
    )

    def __init__(self, options: Options) -> None:
        asked = template(self.name, options.template, frozenset())
        super().__init__(VERSION, Server(options, answer_tokens=LENGTH // 4), asked)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | judges.Failed]:
        """(N,) probabilities that an image is unsafe."""
        replies = self.server.ask(
            [[image] for image in images], [self._template.text] * len(images), max_tokens=LENGTH
        )
        return [self.server.choice(reply, ANSWERS) for reply in replies]
