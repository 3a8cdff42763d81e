"""Typed replies: how a request is put to a chat-completions server, and how it is put again.

Which of the three dialects a server speaks is found out by `probe`, because some accept what they then ignore.
`reading` says what is made of the completion.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from datagen.errors import InputError, RequestRejected
from datagen.llm.messages import Message, Request
from datagen.llm.typed import reading
from datagen.llm.typed.repair import sound
from datagen.llm.typed.schemas import in_words
from datagen.llm.typed.schemas import schema_of as schema_of
from datagen.llm.words import line

SHOWN_AGAIN = 4000  # characters of a bad reply that a correction shows the model again


class Dialect(StrEnum):
    """How a server can be made to give JSON: to a schema, some JSON object, or by being asked for it in words."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    TEXT = "text"


def body(request: Request, model: str, dialect: Dialect, bounds: bool = False) -> dict[str, Any]:
    """The JSON body of POST /chat/completions; it shares parts with others, so it is not to be changed.

    Where the server cannot enforce the type, the last message says it in words; `bounds` puts lengths into the schema.
    InputError for images of other formats.
    """
    messages = [_message(message) for message in request.messages]
    asked: dict[str, Any] = {"model": model, "messages": messages, "temperature": request.temperature}
    asked["max_completion_tokens" if _OPENAI.match(model) else "max_tokens"] = request.max_tokens
    if request.top_logprobs:
        asked |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.reply is None:
        return asked
    if dialect is Dialect.SCHEMA:
        asked["response_format"] = _response_format(request.reply, bounds)
        return asked
    _add(messages[-1], in_words(request.reply))
    if dialect is Dialect.OBJECT:
        asked["response_format"] = {"type": "json_object"}
    return asked


# OpenAI's reasoning models refuse max_tokens, its other models take both; some other servers know only the old name.
_OPENAI = re.compile(r"(?:ft:)?(?:gpt-(?!oss|j\b|neo)|chatgpt-|o\d)")


def _message(message: Message) -> dict[str, Any]:
    text = sound(message.text)
    if not message.images:
        return {"role": message.role, "content": text}
    detail = {"detail": message.detail} if message.detail else {}
    pictures = [{"type": "image_url", "image_url": {"url": _data_url(image), **detail}} for image in message.images]
    return {"role": message.role, "content": [*pictures, {"type": "text", "text": text}]}


def _add(message: dict[str, Any], words: str) -> None:
    """Put words after the text of a message."""
    if isinstance(message["content"], str):
        message["content"] = f"{message['content']}\n\n{words}"
    else:
        message["content"].append({"type": "text", "text": words})


# An image goes to a judge several times (both orders, each question, a correction): encoded once.
@functools.lru_cache(maxsize=64)
def _data_url(image: bytes) -> str:
    if image.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "png"
    elif image.startswith(b"\xff\xd8\xff"):
        kind = "jpeg"
    elif image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        kind = "webp"
    else:
        raise InputError(f"an image of {len(image)} bytes is not a PNG, JPEG or WebP file; convert it to one of them")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


@functools.lru_cache(maxsize=256)
def _response_format(reply: type[BaseModel], bounds: bool) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", reply.__name__)[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema_of(reply, bounds)}}


def correction(request: Request, text: str, reason: str) -> Request:
    """The request once more, with the bad reply and what was wrong with it; for the one round of correction."""
    cut = reason.startswith("cut off")
    advice = "Keep it shorter." if cut else "Keep to the fields and bounds that were asked for."
    words = f"That reply cannot be used ({line(reason)}). Write it again as one JSON object and nothing else. {advice}"
    given = sound(text)[:SHOWN_AGAIN].strip() or "(no text)"  # some servers refuse an empty message
    more = (Message("assistant", given), Message("user", words))
    return dataclasses.replace(request, messages=(*request.messages, *more))


class Paint(BaseModel):
    """What the probe asks for: values that no answer to its question has by chance."""

    model_config = ConfigDict(extra="forbid")

    pigment: Literal["ultramarine", "vermilion"]
    coats: int


_PROBE = Request((Message("user", "Say hello in one short sentence."),), Paint, "probe", max_tokens=512)


async def probe(send: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], model: str) -> Dialect:
    """The best dialect that a server really speaks, by at most three short calls.

    The first question contradicts its schema: only a server that enforces it gives the fields. `send` raises
    RequestRejected for a body that the server refuses; what the last, plain call raises is passed on.
    """
    taken = False
    for dialect in (Dialect.SCHEMA, Dialect.OBJECT):
        try:
            completion = await send(body(_PROBE, model, dialect))
        except Exception as error:
            # Some servers say with HTTP 500 that they do not know a response_format (llama.cpp until 2024).
            if isinstance(error, RequestRejected) or "response_format" in str(error):
                continue
            raise
        taken = True
        if _obeyed(completion, dialect):
            return dialect
    if not taken:  # then the format may not be to blame, and the user must hear what is
        await send(body(dataclasses.replace(_PROBE, reply=None, max_tokens=8), model, Dialect.TEXT))
    return Dialect.TEXT


def _obeyed(completion: Any, dialect: Dialect) -> bool:
    choice = reading.first_choice(completion)
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text = reading.texts(message)[0]
    if not text.strip() and choice.get("finish_reason") == "length":
        return True  # a model that was still thinking: the server took the format, and replies are checked anyway
    text = text or reading.reasoning(message)
    if dialect is Dialect.SCHEMA:
        try:
            Paint.model_validate_json(text)
        except ValidationError:
            return False
        return True
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
