"""A vision-language model behind an OpenAI-compatible server, asked for a rating: the one it expects to give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from datagen import judges
from datagen.judges.asking import Asker, Server, ServerOptions, template

if TYPE_CHECKING:
    from PIL import Image

VERSION = "1"


class Options(ServerOptions):
    """Besides what every judge that asks a server has, `levels`: the highest rating. Its template uses both."""

    levels: int = Field(default=5, ge=2, le=9)


class Judge(Asker):
    """Σ k·p(k) / Σ p(k) over the digits 1 to `levels` of the first token."""

    name = "endpoint_rating"
    facts = judges.Facts(code_license="Apache-2.0", weights_license="as the model that is asked", dear=True)

    def __init__(self, options: Options) -> None:
        asked = template("rating", options.template, frozenset({"prompt", "levels"}))
        super().__init__(VERSION, Server(options), asked)
        self.scale = 6.0 / (options.levels - 1)
        self._levels = options.levels

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | judges.Failed]:
        """(N,) from 1 to `levels`."""
        texts = [self._template.fill(prompt=prompt, levels=self._levels) for prompt in prompts]
        digits = {str(level): float(level) for level in range(1, self._levels + 1)}
        replies = self.server.ask([[image] for image in images], texts)
        return [self.server.choice(reply, digits) for reply in replies]
