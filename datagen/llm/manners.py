"""How a server wants to be asked: which way of giving it a type it heeds, and which parameters it does not take.

The first is found out by a probe, the rest is learnt from its own words when it rejects a body: a parameter of ours is
then renamed or left out for good, once, and that is said. What the user asked for by name is never left out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from datagen.errors import RequestRejected
from datagen.llm.endpoint import Endpoint
from datagen.llm.messages import Request
from datagen.llm.typed import structured
from datagen.llm.typed.structured import Dialect

_LENGTHS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_LOWER = {Dialect.SCHEMA: Dialect.OBJECT, Dialect.OBJECT: Dialect.TEXT}
_CONTEXT = re.compile(r"context[ _](?:length|size)|context of")  # a question too long for it is that one's affair
_NOT_TAKEN = re.compile(
    r"un\w*(?:supported|recogni[sz]ed|known|expected)|not (?:supported|permitted|allowed)|extra|instead|forbidden"
)
# "supports at most 1024 completion tokens", "must be less than or equal to 8192", "<= 4096", "9000 > 8192".
_AT_MOST = re.compile(
    r"(?:at most|maximum(?: \w+){0,4}?|up to|less than or equal to|<=|\d >|between \d+ and)\D{0,20}(\d{2,9})"
)
_FEW = re.compile(r"(?:at most|maximum|up to|less than or equal to|<=|between \d+ and)\D{0,20}(\d{1,2})\b")
_FORMAT = re.compile(r"response_format|json_schema|json_object|structured[ _]output|\bschema\b|json mode")

Send = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Manners:
    """What is known of one server; used in one event loop."""

    def __init__(self, endpoint: Endpoint, say: Callable[[str], None]) -> None:
        self._endpoint, self._say = endpoint, say
        self._dialect: Dialect | None = None
        self._lower: dict[type[BaseModel], Dialect] = {}  # of types whose schema the server does not take
        self._renamed = False
        self._left_out: set[str] = set()  # parameters
        self._logprobs = 0  # the most that one token may have; 0: not known
        self._most: int | None = None  # tokens that a call may ask for
        self._lessons = 0
        self._probing = asyncio.Lock()

    async def body(self, request: Request, send: Send) -> dict[str, Any]:
        """The body of a request as this server takes it; `send` is for finding out how, at the first typed one."""
        dialect = Dialect.TEXT
        if request.reply is not None:
            if self._dialect is None:
                async with self._probing:
                    if self._dialect is None:
                        self._dialect = await self._find_dialect(send)
            dialect = self._lower.get(request.reply, self._dialect)
        return self.shape(structured.body(request, self._endpoint.model, dialect, self._endpoint.bounds))

    def shape(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A body with what has been learnt, and with the user's own parameters."""
        shaped = {**asked, **self._endpoint.parameters}
        name = next((name for name in _LENGTHS if name in shaped), None)
        if name is not None:
            length = shaped.pop(name)
            shaped[_LENGTHS[name] if self._renamed else name] = min(length, self._most or length)
        if self._logprobs and "top_logprobs" in shaped:
            shaped["top_logprobs"] = min(self._logprobs, shaped["top_logprobs"])
        for name in self._left_out:
            shaped.pop(name, None)
        return shaped

    @property
    def lessons(self) -> int:
        """How much has been learnt; a body that was made before the last lesson is worth sending again."""
        return self._lessons

    def learn(self, rejection: RequestRejected, asked: dict[str, Any], reply: type[BaseModel] | None) -> bool:
        """Whether the rejection of a body taught something, so that the same request may now be taken."""
        words = f"{rejection} {rejection.about}".lower()
        lesson = self._of_length(words, asked) or self._of_temperature(words, asked) or self._of_logprobs(words, asked)
        if lesson is None and reply is not None and "response_format" in asked and _FORMAT.search(words):
            lesson = self._of_format(reply)
        if lesson is None:
            return False
        self._lessons += 1
        self._say(f"{self._endpoint.address} {lesson}")
        return True

    def _of_length(self, words: str, asked: dict[str, Any]) -> str | None:
        name = next((name for name in _LENGTHS if name in asked), None)
        if name is None or not re.search(rf"\b{name}\b", words) or _CONTEXT.search(words):
            return None
        most = next((int(found) for found in _AT_MOST.findall(words) if 16 <= int(found) < asked[name]), None)
        if most is not None:
            self._most = most
            return f"takes at most {most} tokens a reply: {name} is that from now on"
        if self._renamed or not _NOT_TAKEN.search(words):
            return None
        self._renamed = True
        return f"does not take {name}: {_LENGTHS[name]} is sent instead"

    def _of_temperature(self, words: str, asked: dict[str, Any]) -> str | None:
        if "temperature" not in asked or not re.search(r"\btemperature\b", words):
            return None
        self._left_out.add("temperature")
        return f"does not take the temperature {asked['temperature']:g}: the model's own is used"

    def _of_logprobs(self, words: str, asked: dict[str, Any]) -> str | None:
        if "logprobs" not in asked or "logprobs" not in words:
            return None
        most = next((int(found) for found in _FEW.findall(words) if 1 <= int(found) < asked["top_logprobs"]), 0)
        if most and not self._logprobs:
            self._logprobs = most
            return f"gives at most {most} log-probabilities a token"
        self._left_out |= {"logprobs", "top_logprobs"}
        return "does not give log-probabilities: answers are read from their text"

    def _of_format(self, reply: type[BaseModel]) -> str | None:
        if self._dialect is None:
            return None
        lower = _LOWER.get(self._lower.get(reply, self._dialect))
        if lower is None:
            return None
        self._lower[reply] = lower
        return f"does not take the schema of {reply.__name__}: replies of that type are asked for as {lower}"

    async def _find_dialect(self, send: Send) -> Dialect:
        for _ in range(2):  # one odd answer must not decide how a whole run is asked
            dialect = await structured.probe(send, self._endpoint.model)
            if dialect is Dialect.SCHEMA:
                return dialect
        self._say(f"{self._endpoint.address} does not heed JSON schemas: replies are asked for as {dialect}")
        return dialect
