"""Chat completions, as a client asks for them: texts, typed or not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datagen.errors import RequestRejected
from datagen.llm.accounts import cache as caching
from datagen.llm.endpoint import Endpoint
from datagen.llm.finish import Completion, corrected, finish
from datagen.llm.manners import Manners
from datagen.llm.messages import Message, Reply, Request, Usage
from datagen.llm.quotas import Need
from datagen.llm.service import Bound, Send

if TYPE_CHECKING:
    from datagen.llm.accounts.prices import Price, Prices


class Chat:
    """The service of `Request` and `Reply`; `service.Service` says what each function is for."""

    def __init__(self, endpoint: Endpoint, say: Callable[[str], None]) -> None:
        self._endpoint = endpoint
        self._manners = Manners(endpoint, say)

    def key(self, request: Request) -> str:
        """By all that decides a reply."""
        return caching.key(request, self._endpoint.model, self._endpoint.parameters)

    def is_whole(self, completion: dict[str, Any]) -> bool:
        """A text is in its completion."""
        del completion
        return True

    def need(self, request: Request) -> Need:
        """What it says, and all it may answer."""
        images = sum(len(message.images) for message in request.messages)
        return Need(sum(len(message.text) for message in request.messages) / 4 + 1000 * images, request.max_tokens)

    def bound(self, request: Request, price: Price | None) -> Bound:
        """By its own tokens, and `max_tokens` of an answer."""
        question = price.most(dataclasses.replace(request, max_tokens=0)) if price else 0.0
        allowed = price.most(request) if price else 0.0
        cure = "raise llm.max_tokens if the model thinks, or take another server"
        return Bound(question, allowed, f"{request.max_tokens:,} tokens", cure)

    def usage(self, request: Request, answer: Any, prices: Prices) -> Usage | None:
        """By the tokens, or the dollars, that the answer tells."""
        del request
        return prices.usage(self._endpoint.model, answer)

    async def body(self, request: Request, send: Send) -> dict[str, Any]:
        """As its manners are."""
        return await self._manners.body(request, send)

    def shape(self, body: dict[str, Any]) -> dict[str, Any]:
        """As its manners are."""
        return self._manners.shape(body)

    def probe(self, body: dict[str, Any]) -> Request:
        """A free text of as many tokens."""
        texts = tuple(Message("user", json.dumps(message.get("content", ""))) for message in body["messages"])
        allowed = int(body.get("max_tokens") or body.get("max_completion_tokens") or Request.max_tokens)
        return Request(texts, stage="probe", max_tokens=allowed)

    @property
    def lessons(self) -> int:
        """Of its manners."""
        return self._manners.lessons

    def learn(self, rejection: RequestRejected, body: dict[str, Any], request: Request) -> bool:
        """As its manners do; a probe has no type to give up."""
        return self._manners.learn(rejection, body, request.reply)

    def finish(self, request: Request, completion: Completion) -> tuple[Reply, Request | None]:
        """One correction round where a typed reply cannot be read."""
        return finish(request, completion, self._endpoint.model)

    def corrected(self, request: Request, reply: Reply, completion: Completion) -> Reply:
        """What the second completion says."""
        return corrected(request, reply, completion)
