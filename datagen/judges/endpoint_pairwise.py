"""A vision-language model behind an OpenAI-compatible server, shown two images: how probably it names the first.

It is asked in both orders, and both answers are kept: what a liking for a place decides cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges.asking import Asker, Server, ServerOptions, template

if TYPE_CHECKING:
    from PIL import Image

VERSION = "1"
ANSWERS = {"a": 1.0, "b": 0.0}


class Options(ServerOptions):
    """As of every judge that asks a server."""


class Judge(Asker):
    """P("A") / (P("A") + P("B")) of the first token."""

    name = "endpoint_pairwise"
    scale = 1.0
    facts = judges.Facts(code_license="Apache-2.0", weights_license="as the model that is asked", dear=True)

    def __init__(self, options: Options) -> None:
        super().__init__(VERSION, Server(options), template("pairwise", options.template))

    def compare(
        self, first: Sequence[Image.Image], second: Sequence[Image.Image], prompts: Sequence[str]
    ) -> list[float | judges.Failed]:
        """(N,) probabilities that the image that is shown first is the better one."""
        texts = [self._template.fill(prompt=prompt) for prompt in prompts]
        replies = self.server.ask(list(zip(first, second, strict=True)), texts)
        return [self.server.choice(reply, ANSWERS) for reply in replies]
