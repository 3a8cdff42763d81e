"""UnifiedReward's point scores, asked of the model behind an OpenAI-compatible server (arXiv 2503.05236).

The model writes three numbers of many digits. What it is asked is in our words; `template` takes a file with its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges.asking import Asker, Server, ServerOptions, template

if TYPE_CHECKING:
    from PIL import Image

    from datagen.llm.messages import Reply

VERSION = "1"
PARTS = ("alignment", "coherence", "style")
LENGTH = 256  # tokens


class Options(ServerOptions):
    """As of every judge that asks a server."""


class Judge(Asker):
    """The mean of the three, and each of them, from 1 to 5."""

    name = "unified_reward"
    scale = 1.5
    facts = judges.Facts(
        dear=True,
        code_license="MIT",
        weights_license="as the model's base: Qwen2.5-VL 3B and 72B for research only, 7B and Qwen3-VL Apache-2.0",
        reference="UnifiedReward-2.0, point scores; the question is in our words",
        categories=("mean", *PARTS),
    )

    def __init__(self, options: Options) -> None:
        asked = template(self.name, options.template)
        super().__init__(VERSION, Server(options, answer_tokens=LENGTH // 4), asked)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[tuple[float, ...] | judges.Failed]:
        """(N, 4)."""
        texts = [self._template.fill(prompt=prompt) for prompt in prompts]
        replies = self.server.ask([[image] for image in images], texts, max_tokens=LENGTH, logprobs=False)
        return [_read(reply) for reply in replies]


def _read(reply: Reply) -> tuple[float, ...] | judges.Failed:
    if reply.error is not None:
        return judges.Failed(reply.error)
    found = [re.search(rf"{part}[^\n:]*:\s*(\d+(?:\.\d+)?)", reply.text, re.IGNORECASE) for part in PARTS]
    values = [float(match[1]) for match in found if match]
    if len(values) < len(PARTS) or not all(1 <= value <= 5 for value in values):
        return judges.Failed(f"unreadable: not three scores from 1 to 5: {reply.text[:80]!r}")
    return math.fsum(values) / len(values), *values
