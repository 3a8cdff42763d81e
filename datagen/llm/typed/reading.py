"""What a completion says in the asked type.

A completion is data from outside: whatever JSON value it is, `read` returns a Parsed and raises nothing. Of several
objects in a reply the last one is meant, as a draft comes before what is made of it; a reply that breaks off is never
completed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from typing import Any

from pydantic import BaseModel, ValidationError

from datagen.llm.messages import Request
from datagen.llm.typed import looseness
from datagen.llm.typed.pieces import Piece, pieces
from datagen.llm.typed.refusals import refusal_inside, refuses
from datagen.llm.typed.repair import sound, value_of
from datagen.llm.typed.schemas import schema_of
from datagen.llm.typed.thinking import spoken
from datagen.llm.words import line

# What servers call the end of a reply that came too soon, and the end that a filter made; OpenAI's words come first.
CUT = {"length", "max_tokens", "model_length", "max_output_tokens", "token_limit"}
FILTERED = {
    "content_filter",
    "safety",
    "recitation",
    "blocklist",
    "prohibited_content",
    "spii",
    "guardrail",
    "refusal",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Parsed:
    """A completion as read: `value` of the asked type (the text, if none was asked), or `error` and no value.

    `left_out` counts the entries of lists that could not be used.
    """

    value: BaseModel | str | None
    text: str
    error: str | None = None
    left_out: int = 0


def read(completion: Any, request: Request) -> Parsed:
    """What a completion says. Errors begin with "refused: ", "cut off: " or "unreadable: "."""
    choice = first_choice(completion)
    message = choice.get("message")
    message = message if isinstance(message, dict) else {"content": choice.get("text")}
    content, finish = message.get("content"), str(choice.get("finish_reason")).lower()
    filtered = finish in FILTERED
    if request.reply is not None and isinstance(content, str) and not filtered and not message.get("refusal"):
        try:
            value = request.reply.model_validate_json(content)
        except ValidationError:
            pass
        else:
            return _checked(value, content, request.reply)
    text, declined = texts(message)
    if declined:
        return Parsed(None, text, f"refused: {line(declined)}")
    if filtered:
        return Parsed(None, text, "refused: the server's content filter ended the reply")
    if finish in CUT and not request.top_logprobs:
        return Parsed(
            None, text, f"cut off: the reply did not end within {request.max_tokens} tokens (llm.max_tokens)"
        )
    said, thinking = spoken(text)
    if request.reply is None:
        return Parsed(said, text) if said and not thinking else Parsed(None, text, "unreadable: the reply is empty")
    return _found(said or _called(message) or reasoning(message), text, request.reply, thinking)


def logprobs_of(completion: Any) -> tuple[dict[str, float], ...]:
    """For each place of the answer the tokens that the server lists, with their log-probabilities; () without any."""
    content = first_choice(completion).get("logprobs")
    places = content.get("content") if isinstance(content, dict) else None
    return tuple(_listed(place) for place in places if isinstance(place, dict)) if isinstance(places, list) else ()


def _listed(place: dict[str, Any]) -> dict[str, float]:
    """The chosen token and the likeliest others; of a token that is listed twice, what is said first."""
    others = place.get("top_logprobs")
    found: dict[str, float] = {}
    for entry in [*(others if isinstance(others, list) else []), place]:
        token, value = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
        if isinstance(token, str) and isinstance(value, int | float) and not math.isnan(value):
            found.setdefault(token, float(value))
    return found


def first_choice(completion: Any) -> dict[str, Any]:
    """The first choice of a completion; {} if it has none."""
    choices = completion.get("choices") if isinstance(completion, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def texts(message: dict[str, Any]) -> tuple[str, str]:
    """What a message says, and with what words it declines ("" if it does not)."""
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, dict) and "type" not in content and "text" not in content:
        content = json.dumps(content)  # the JSON that was asked for, not put into a text
    parts = content if isinstance(content, list) else [content]
    parts = [{"text": part} if isinstance(part, str) else part for part in parts]
    said = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    declined = [refusal, *(part.get("refusal") for part in parts if isinstance(part, dict))]
    return sound("".join(said)), next((sound(words) for words in declined if isinstance(words, str) and words), "")


def reasoning(message: dict[str, Any]) -> str:
    """The field in which some servers put the whole answer of a model that does not think (vLLM with a parser)."""
    words = message.get("reasoning_content") or message.get("reasoning")
    return sound(words) if isinstance(words, str) else ""


def _called(message: dict[str, Any]) -> str:
    """The arguments of the tool that a model took itself to have been asked to call."""
    calls = message.get("tool_calls")
    call = calls[-1] if isinstance(calls, list) and calls else {"function": message.get("function_call")}
    function = call.get("function") if isinstance(call, dict) else None
    words = function.get("arguments") if isinstance(function, dict) else None
    return sound(json.dumps(words) if isinstance(words, dict) else words) if isinstance(words, str | dict) else ""


def _found(said: str, text: str, reply: type[BaseModel], thinking: bool) -> Parsed:
    """The outcome of a reply that is not simply the JSON asked for."""
    said = _decoded(said)
    reason = "no JSON object in the reply" if said else "the reply is empty"
    if (piece := _meant(said, reply)) is not None:
        if piece.broken:
            return Parsed(None, text, "cut off: the reply ends in the middle of a text")
        value = value_of(piece)
        if thinking and said[piece.end :].strip(" \n`"):
            reason = "the reply is nothing but thinking"
        elif isinstance(value, dict | list) and value:
            try:
                found, left_out = looseness.read(value, reply)
                return dataclasses.replace(_checked(found, text, reply), left_out=left_out)
            except ValidationError as error:
                reason = _reason(error)
            except RecursionError:
                reason = "no JSON object in the reply"
    prose = said.partition("{")[0]
    if declined := refusal_inside(said) or (prose if refuses(prose) else ""):
        return Parsed(None, text, f"refused: {line(declined)}")
    return Parsed(None, text, f"unreadable: {reason}")


def _decoded(said: str) -> str:
    """A text that was put into a JSON string once more than needed."""
    if said[:1] == '"':
        try:
            inner = json.loads(said)
        except (ValueError, RecursionError):
            return said
        return sound(inner) if isinstance(inner, str) else said
    return said


def _meant(said: str, reply: type[BaseModel]) -> Piece | None:
    """The last piece that names a field of the type; the last of all where none does."""
    found = list(pieces(said))
    named = [piece for piece in found if any(name in piece.text.lower() for name in _lower_names(reply))]
    return next(reversed(named or found), None)


@functools.lru_cache(maxsize=256)
def _lower_names(reply: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name.lower() for name in reply.model_fields)


def _checked(value: BaseModel, text: str, reply: type[BaseModel]) -> Parsed:
    """A value of the right type, unless it holds what no JSON has or what a model says that declines."""
    if declined := refusal_inside(text):
        return Parsed(None, text, f"refused: {line(declined)}")
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
