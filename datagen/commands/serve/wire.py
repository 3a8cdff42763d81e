"""What is sent and what is answered: JSON in the shape of UniRL's reward service, images in base64.

`{"requests": [{"history": [{"text": …, "image_b64": …}], "required_rewards": [names]}]}` is answered by
`{"results": [{name: {column: score}}], "errors": [{name: why}]}`, one entry a request each. A judge that could not say
a score, whether it failed or abstained, has no entry in the results and one in the errors: no number stands for it.
"""

from __future__ import annotations

import binascii
import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from datagen import safety
from datagen.errors import nearest
from datagen.judges import Judge
from datagen.judges.panel import Answer

MOST = 4096  # requests in one body
TURN, REQUEST = {"text", "image_b64"}, {"history", "required_rewards", "metadata"}
ABSTAINED = "it abstained"
_written = json.JSONEncoder(allow_nan=False).encode  # `json.dumps` makes an encoder for each reply
_refusal = functools.lru_cache(maxsize=4096)(safety.refusal)  # many images of a prompt are judged


class Malformed(Exception):
    """Why a body cannot be answered, in one line."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One image with its text, and the judges that are asked; `error` is why none is."""

    text: str
    image: bytes
    judges: tuple[str, ...]
    error: str | None = None


def read(body: bytes, known: Sequence[str]) -> list[Item]:
    """The items of a body; Malformed if it is of another shape, or names a judge that is not served."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {error}") from error
    requests = _field(values, "requests", list, "the body")
    _only({"requests"}, values, "the body")
    if len(requests) > MOST:
        raise Malformed(f"{len(requests)} requests in one body: send at most {MOST}")
    return [_item(request, f"requests[{place}]", known) for place, request in enumerate(requests)]


def _item(request: Any, where: str, known: Sequence[str]) -> Item:
    history = _field(request, "history", list, where)
    _only(REQUEST, request, where)
    if not history:
        raise Malformed(f"{where}.history is empty: its last turn is judged")
    for place, turn in enumerate(history):
        _field(turn, "text", str, f"{where}.history[{place}]")
        _only(TURN, turn, f"{where}.history[{place}]")
    last = history[-1]
    image = _bytes(_field(last, "image_b64", str, f"{where}.history[{len(history) - 1}]"), where)
    names = _field(request, "required_rewards", list, where)
    for name in names:
        if name not in known:
            raise Malformed(f"{where} asks for {name!r}, which is not served here: {nearest(str(name), known)}")
    if not names:
        raise Malformed(f"{where}.required_rewards is empty: {', '.join(known)} are served here")
    return Item(last["text"], image, tuple(dict.fromkeys(names)), _refusal(last["text"]))


def _field(values: Any, name: str, kind: type, where: str) -> Any:
    found = values.get(name) if isinstance(values, dict) else None
    if not isinstance(found, kind):
        raise Malformed(f"{where} has no {name} that is {'a list' if kind is list else 'a text'}")
    return found


def _only(known: set[str], values: Mapping[str, Any], where: str) -> None:
    if others := sorted(values.keys() - known):
        raise Malformed(f"{where} has {', '.join(others)}, which nothing is made of here: leave it out")


def _bytes(text: str, where: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise Malformed(f"the image of {where} is no base64: {error}") from error


def answered(items: Sequence[Item], answers: Sequence[Mapping[str, Answer | str]], panel: Sequence[Judge]) -> bytes:
    """The body of a reply; `answers` has of each item, by judge, what it said or why it could not."""
    judges = {judge.name: judge for judge in panel}
    results, errors = list[dict[str, Any]](), list[dict[str, str]]()
    for item, answer in zip(items, answers, strict=True):
        scores, failed = dict[str, Any](), dict[str, str]()
        for name in item.judges:
            said = answer[name]
            found = said if isinstance(said, str) else _scores(judges[name], said)
            if isinstance(found, str):
                failed[name] = found
            else:
                scores[name] = found
        results.append(scores)
        errors.append(failed)
    return _written({"results": results, "errors": errors}).encode()


def _scores(judge: Judge, answer: Answer) -> dict[str, float] | str:
    """A judge's columns by name, or why there are none; a column that it abstained from is left out."""
    if (error := answer.error_of(judge.name)) is not None:
        return error
    columns = judge.facts.categories or (judge.name,)
    values = zip(columns, answer.scores[judge.name][0].tolist(), strict=True)
    return {name: value for name, value in values if math.isfinite(value)} or ABSTAINED
