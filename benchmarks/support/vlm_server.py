"""An OpenAI-compatible server on loopback whose model compares two pictures, so often rightly and so often by place.

A pair is a number, which the text about it names, and the better of its pictures is the redder one. An answer hangs on
seed, pair and order alone, so that whoever asks again, or at once, hears the same.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import random
import re
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from benchmarks.support import stub_server
from datagen.llm.providers import mock

SURE = (0.55, 0.99)  # the probability of the image that it names, between these


@dataclasses.dataclass(frozen=True)
class Taste:
    """A share `bias` of the answers names the first place; of the others a share `accuracy` names the better image."""

    accuracy: float = 0.7
    bias: float = 0.3


def first_wins(taste: Taste, seed: int, pair: int, first: int, better: int) -> float:
    """P("A") where image `first` (0 or 1) of a pair is shown first."""
    rng = random.Random(f"{seed} {pair} {first}")
    by_place, right, sure = rng.random() < taste.bias, rng.random() < taste.accuracy, rng.uniform(*SURE)
    return sure if by_place or (first == better) == right else 1 - sure


def picture(pair: int, place: int, better: int) -> bytes:
    """The image of a pair as a PNG; no two are alike, since servers are not asked twice about the same."""
    file = io.BytesIO()
    red = 200 if place == better else 50
    Image.new("RGB", (28, 28), (red + place, pair % 256, pair // 256)).save(file, "PNG")
    return file.getvalue()


def text(pair: int) -> str:
    """What the two images of a pair are compared by."""
    return f"pair {pair}"


class VlmServer(stub_server.Server):
    """POST /v1/chat/completions: A or B, with log-probabilities."""

    def __init__(self, taste: Taste, seed: int) -> None:
        super().__init__(taste)
        self.seed = seed

    def app(self) -> web.Application:
        """The server for aiohttp."""
        app = super().app()
        app.router.add_post("/v1/chat/completions", self.complete)
        return app

    async def complete(self, request: web.Request) -> web.Response:
        """Compare the two images of a message."""
        asked = await request.json()
        parts = asked["messages"][-1]["content"]
        words = next(part["text"] for part in parts if part["type"] == "text")
        pair = re.search(r"pair (\d+)", words)
        reds = [_red(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
        if pair is None or len(reds) != 2:
            return stub_server.error(400, "Show two images of a pair.", "invalid_request_error")
        self.counts["calls"] += 1
        first = reds[0] % 2  # the place of an image in its pair is in its red, see `picture`
        better = first if reds[0] > reds[1] else 1 - first
        p = first_wins(self.faults, self.seed, int(pair[1]), first, better)
        return web.json_response(_completion(asked, p))


def _red(url: str) -> int:
    data = base64.b64decode(url.partition(",")[2])
    pixel: Any = Image.open(io.BytesIO(data), formats=["PNG"]).getpixel((0, 0))
    return int(pixel[0])


def _completion(asked: dict[str, Any], p: float) -> dict[str, Any]:
    made = mock.completion(asked, "A" if p > 0.5 else "B")
    listed: list[dict[str, Any]] = [
        {"token": token, "logprob": math.log(value)} for token, value in (("A", p), ("B", 1 - p))
    ]
    listed.sort(key=lambda entry: entry["logprob"], reverse=True)
    made["choices"][0]["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
    return made


class VlmStub(stub_server.Stub):
    """The server in a process of its own."""

    program = Path(__file__)


if __name__ == "__main__":
    stub_server.main(lambda faults, log, seed: VlmServer(Taste(**faults), seed))
