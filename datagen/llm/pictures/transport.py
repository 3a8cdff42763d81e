"""Carries calls to a server that draws; what comes back is looked at and kept before anything is said of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from datagen.errors import one_line
from datagen.images.decode import Unreadable, decode
from datagen.llm.endpoint import Endpoint
from datagen.llm.pictures.kept import Kept
from datagen.llm.pictures.links import Links, decoded
from datagen.llm.providers import Hear, UnusableAnswer, deaf
from datagen.llm.providers.http import HttpTransport
from datagen.llm.wire.answers import Kind

GENERATION = Kind("images/generations", "image generation", "data")


class PictureTransport:
    """The connections to one server; make and use it in one event loop."""

    def __init__(self, endpoint: Endpoint, kept: Kept) -> None:
        self._kept = kept
        self._http, self._links = HttpTransport(endpoint, GENERATION), Links(endpoint)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()
        await self._links.close()

    async def send(self, body: bytes, sample: int = 0, hear: Hear = deaf) -> dict[str, Any]:
        """What is kept of an answer: all but the pictures, of which the first is kept by itself under its `sha256`.

        `told` are the parameters that were sent. UnusableAnswer if there is no picture that can be decoded.
        """
        answer = await self._http.send(body, sample, hear)
        entries = answer.pop("data")
        billed = {**answer, "data": [{} for _ in entries]}
        try:
            picture = await self._picture(entries[0])
            await asyncio.to_thread(decode, picture)
        except Unreadable as error:
            raise UnusableAnswer(f"a picture that cannot be used: {one_line(error)}", billed) from error
        except UnusableAnswer as error:
            raise UnusableAnswer(str(error), billed) from error
        name = await asyncio.to_thread(self._kept.put, picture)
        about = {
            name: part for name, part in entries[0].items() if name in ("revised_prompt", "seed", "finish_reason")
        }
        first = {**about, "sha256": name}
        return {**answer, "data": [first, *({} for _ in entries[1:])], "told": sorted(json.loads(body))}

    async def _picture(self, entry: dict[str, Any]) -> bytes:
        """The encoded picture of an entry: in it, or behind its link."""
        for name in ("b64_json", "base64", "image", "url"):
            value = entry.get(name)
            if isinstance(value, str) and value:
                linked = name == "url" or value[:5].lower() in ("data:", "http:", "https")
                return await self._links.fetch(value) if linked else decoded(value)
        raise UnusableAnswer("an image generation without a picture")
