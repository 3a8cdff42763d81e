"""Pictures, as a client asks a server for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datagen.errors import EndpointError, RequestRejected
from datagen.llm.accounts import told as telling
from datagen.llm.endpoint import Endpoint
from datagen.llm.finish import Completion
from datagen.llm.messages import Usage
from datagen.llm.pictures import spellings
from datagen.llm.pictures.kept import Kept
from datagen.llm.pictures.messages import Drawing, Drawn
from datagen.llm.quotas import Need
from datagen.llm.service import Bound, Send
from datagen.llm.words import line

if TYPE_CHECKING:
    from datagen.llm.accounts.prices import Price, Prices

VERSION = 1
_SETTINGS = {
    "size": "set the profile's width and height, or add size=… to the model's name",
    "steps": "set the profile's steps",
    "guidance": "set the profile's guidance",
}


class Drawer:
    """The service of `Drawing` and `Drawn`; `datagen.llm.service` says what each function is for."""

    def __init__(self, endpoint: Endpoint, say: Callable[[str], None], kept: Kept) -> None:
        self._endpoint, self._say, self._kept = endpoint, say, kept
        self._spellings = spellings.Spellings(endpoint.model, endpoint.parameters)

    def key(self, request: Drawing) -> str:
        """By all that decides a picture, with the seed that a server may not take: two seeds are two pictures."""
        canonical = [
            "picture", VERSION, self._endpoint.model, request.text, request.negative, request.seed, request.steps,
            float(request.guidance), request.size, request.sample, sorted(self._endpoint.parameters.items()),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(canonical).encode()).hexdigest()

    def is_whole(self, completion: dict[str, Any]) -> bool:
        """A picture may have been deleted, or be damaged."""
        return self._kept.get(completion["data"][0]["sha256"]) is not None

    def need(self, request: Drawing) -> Need:
        """Its texts."""
        return Need(len(request.text + request.negative) / 4, 0)

    def bound(self, request: Drawing, price: Price | None) -> Bound:
        """By its texts, and the dearest picture that what is asked for may be."""
        question = price.question(request.text, request.negative) if price else 0.0
        words = f"one picture of {request.size}"
        return Bound(question, question + self._most(request, price), words, "correct the price of a picture")

    def usage(self, request: Drawing, answer: Any, prices: Prices) -> Usage | None:
        """By the dollars or tokens that the answer tells, else by the price of a picture, for each that came."""
        price = prices.of(self._endpoint.model)
        dollars, counted = telling.cost(answer), telling.tokens(answer)
        if dollars:
            return Usage(counted.input if counted else 0, counted.output if counted else 0, dollars)
        if counted is not None and price is not None and price.output:
            return Usage(
                counted.input, counted.output, price.cost(counted.input, counted.output, cached=counted.cached)
            )
        if price is None or price.output:  # billed by tokens that nobody told
            return None if price else Usage()
        entries = answer.get("data") if isinstance(answer, dict) else None
        count = max(1, len(entries)) if isinstance(entries, list) else 1
        return Usage(cost=count * self._most(request, price))

    async def body(self, request: Drawing, send: Send) -> dict[str, Any]:
        """OpenAI's names, and diffusers' for what OpenAI has none for; the user's parameters as they are."""
        del send  # nothing is found out by probes
        ours = {"model": self._endpoint.model, "prompt": request.text, "n": 1}
        return self.shape({**ours, **self._spellings.body(request)})

    def shape(self, body: dict[str, Any]) -> dict[str, Any]:
        """With the user's parameters."""
        return {**body, **self._endpoint.parameters}

    def probe(self, body: dict[str, Any]) -> Drawing:
        """There are no probes, as `body` sends none."""
        raise NotImplementedError("pictures are asked for without probes")

    @property
    def lessons(self) -> int:
        """Of how the parts of a drawing are spelt."""
        return self._spellings.lessons

    def learn(self, rejection: RequestRejected, body: dict[str, Any], request: Drawing) -> bool:
        """Another spelling of what the server does not take; EndpointError where it is the user who must choose."""
        if rejection.code == "content_filter":
            return False
        words = f"{rejection} {rejection.about}".lower()
        for name in self._endpoint.parameters:
            if spellings.named(name, words):
                raise EndpointError(f"{rejection}: change or leave out {name}=… in the model's name")
        part, lesson = self._spellings.learn(words, body)
        if part and not lesson:
            raise EndpointError(f"{rejection}: {_SETTINGS[part]}")
        if lesson:
            self._say(f"{self._endpoint.address} {lesson}")
        return bool(lesson)

    def finish(self, request: Drawing, completion: Completion) -> tuple[Drawn, None]:
        """The picture of a completion; nothing is asked again."""
        if completion.problem is not None:
            return Drawn(error=completion.problem), None
        body = completion.body
        told = spellings.told(body["told"])
        wanted = [part for part in spellings.PARTS if request.negative or part != "negative prompt"]
        drawn = Drawn(
            self._kept.get(body["data"][0]["sha256"]),
            line(str(body.get("model") or "")),
            line(str(body.get("id") or "")),
            completion.usage,
            completion.cached,
            None,
            told,
            tuple(part for part in wanted if part not in told),
            len(body["data"]) - 1,
            body["seed"],
        )
        gone = drawn.picture is None and "unreadable: the picture was deleted just after it came"
        return (Drawn(error=gone, usage=drawn.usage) if gone else drawn), None

    def corrected(self, request: Drawing, reply: Drawn, completion: Completion) -> Drawn:
        """Nothing is asked again, as `finish` has no correction."""
        raise NotImplementedError("a picture has no correction round")

    def _most(self, request: Drawing, price: Price | None) -> float:
        parameters = self._endpoint.parameters
        size = str(parameters.get("size", request.size))
        return price.drawn(str(parameters.get("quality", "")), size) if price else 0.0
