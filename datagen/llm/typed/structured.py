"""Typed replies: how a request is put to a chat-completions server, and what a completion says in the asked type.

A completion is data from outside: whatever JSON value it is, `read` returns a Parsed and raises nothing. Which of
the three dialects a server speaks is found out by `probe`, because some accept what they then ignore.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import math
import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from datagen.errors import InputError, RequestRejected
from datagen.llm.messages import Message, Request
from datagen.llm.typed.refusals import refuses, refuses_inside
from datagen.llm.typed.repair import candidates, sound, spoken
from datagen.llm.typed.schemas import in_words
from datagen.llm.typed.schemas import schema_of as schema_of
from datagen.llm.words import line

SHOWN_AGAIN = 4000  # characters of a bad reply that a correction shows the model again


class Dialect(StrEnum):
    """How a server can be made to give JSON: to a schema, some JSON object, or by being asked for it in words."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    TEXT = "text"


@dataclasses.dataclass(frozen=True, slots=True)
class Parsed:
    """A completion as read: `value` of the asked type (the text, if none was asked), or `error` and no value."""

    value: BaseModel | str | None
    text: str
    error: str | None = None


def body(request: Request, model: str, dialect: Dialect, bounds: bool = False) -> dict[str, Any]:
    """The JSON body of POST /chat/completions; it shares parts with others, so it is not to be changed.

    Where the server cannot enforce the type, the last message says it in words; `bounds` puts lengths into the schema.
    InputError for images of other formats.
    """
    messages = [_message(message) for message in request.messages]
    asked: dict[str, Any] = {"model": model, "messages": messages, "temperature": request.temperature}
    asked["max_completion_tokens" if _OPENAI.match(model) else "max_tokens"] = request.max_tokens
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
    pictures = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in message.images]
    return {"role": message.role, "content": [{"type": "text", "text": text}, *pictures]}


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


def read(completion: Any, request: Request) -> Parsed:
    """What a completion says. Errors begin with "refused: ", "cut off: " or "unreadable: "."""
    choice = _first(completion.get("choices")) if isinstance(completion, dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content, finish = message.get("content"), choice.get("finish_reason")
    refused = finish == "content_filter" or message.get("refusal")
    if request.reply is not None and isinstance(content, str) and not refused:
        try:
            value = request.reply.model_validate_json(content)
        except ValidationError:
            pass
        else:
            return _checked(value, content, request.reply)
    text, declined = _texts(message)
    if declined:
        return Parsed(None, text, f"refused: {line(declined)}")
    if finish == "content_filter":
        return Parsed(None, text, "refused: the server's content filter ended the reply")
    said = spoken(text)
    if finish == "length":
        return Parsed(None, text, f"cut off: the reply did not end within {request.max_tokens} tokens")
    if request.reply is None:
        return Parsed(said, text) if said else Parsed(None, text, "unreadable: the reply is empty")
    return _repaired(said or _reasoning(message), text, request.reply)


def _first(choices: Any) -> dict[str, Any]:
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _texts(message: dict[str, Any]) -> tuple[str, str]:
    """What a message says, and with what words it declines ("" if it does not)."""
    content, refusal = message.get("content"), message.get("refusal")
    parts = content if isinstance(content, list) else [{"text": content}]
    said = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    declined = [refusal, *(part.get("refusal") for part in parts if isinstance(part, dict))]
    return sound("".join(said)), next((sound(words) for words in declined if isinstance(words, str) and words), "")


def _reasoning(message: dict[str, Any]) -> str:
    """The field in which some servers put the whole answer of a model that does not think (vLLM with a parser)."""
    words = message.get("reasoning_content") or message.get("reasoning")
    return sound(words) if isinstance(words, str) else ""


def _repaired(said: str, text: str, reply: type[BaseModel]) -> Parsed:
    """The outcome of a reply that is not simply the JSON asked for."""
    reason = "no JSON object in the reply" if said else "the reply is empty"
    for candidate in candidates(said):
        try:
            return _checked(reply.model_validate_json(candidate), text, reply)
        except ValidationError as error:
            reason = _reason(error)
    if refuses(said.partition("{")[0]) or refuses_inside(said):
        return Parsed(None, text, f"refused: {line(said)}")
    return Parsed(None, text, f"unreadable: {reason}")


def _checked(value: BaseModel, text: str, reply: type[BaseModel]) -> Parsed:
    """A value of the right type, unless it holds what no JSON has or what a model says that declines."""
    if refuses_inside(text):
        return Parsed(None, text, f"refused: {line(text)}")
    if _has_numbers(reply) and not _finite(value.model_dump()):
        return Parsed(None, text, "unreadable: a number that is infinite or none (NaN)")
    return Parsed(value, text)


@functools.lru_cache(maxsize=256)
def _has_numbers(reply: type[BaseModel]) -> bool:
    return '"number"' in json.dumps(schema_of(reply))


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple | set):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _reason(error: ValidationError) -> str:
    """What is wrong, field by field, without the values."""
    said = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False)[:4]:
        where = ".".join(map(str, fault["loc"]))
        said.append(f"{where}: {fault['msg']}" if where else fault["msg"])
    return line("; ".join(said))


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
    choice = _first(completion.get("choices")) if isinstance(completion, dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text = _texts(message)[0]
    if not text.strip() and choice.get("finish_reason") == "length":
        return True  # a model that was still thinking: the server took the format, and replies are checked anyway
    text = text or _reasoning(message)
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
