"""An LLM of word lists in this process (`mock:`): no server, no key, no cost, and the same reply each time.

It gives whatever type is asked for: texts are scenes of the embedded world, numbers and lists keep to the bounds that
the schema states in words. Two wordings take the phrases that the question gives as examples. For trying a recipe
whose writer is an LLM, and for tests; it understands nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import random
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from datagen.errors import EndpointError
from datagen.llm.endpoint import Endpoint
from datagen.llm.providers import Hear, Provider, Say, deaf
from datagen.world import captions
from datagen.world.grammar import COLOURS, VIOLET_SHARE

VERSION = 3  # raised when its replies change: it is part of the model's name, by which replies are cached
ENTRIES = 20  # of a list that may be longer
LONG = 300  # characters from which a text may be a whole description

# A text of at most `longest` characters for a field of that name, None: an entry of a list.
Write = Callable[[int, str | None], str]


def scene(rng: random.Random) -> str:
    """Someone with something, somewhere, in the embedded world's words."""
    who = rng.choice([word for words in captions.OCCUPATION_WORDS.values() for word in words])
    where = rng.choice([phrase for phrases in captions.PLACE_PHRASES.values() for phrase in phrases])
    return f"{'an' if who[0] in 'aeiou' else 'a'} {who} {rng.choice(captions.BESIDE)} {things(rng)} {where}"


def things(rng: random.Random) -> str:
    """Some things of one colour."""
    count = rng.choice(list(captions.COUNT_WORDS))
    forms = rng.choice(list(captions.THING_WORDS.values()))
    return f"{rng.choice(captions.COUNT_WORDS[count])} {rng.choice(list(COLOURS))} {forms[count > 1]}"


def author(question: str, rng: random.Random) -> Write:
    """Writes about the scene that a question holds, else about one of its own; each text of an object otherwise."""
    found = re.search(r"<scene>\n(.+)\n</scene>", question)
    core = found[1] if found else scene(rng)
    aligned, violating = wordings(question, core)
    asked = {"prompt": violating if "asks for what" in question else core, "chosen": aligned, "rejected": violating}
    if "- chosen:" not in question and re.search("kind: (prefer|balance)", question):
        # A control: what is drawn by default was asked for, and the preference, or the other group, applied unasked.
        asked |= {"prompt": violating, "rejected": aligned}

    def write(longest: int, name: str | None) -> str:
        if name is None:
            text = scene(rng)
        elif "negative" in name:
            text = ""
        else:
            text = things(rng) if longest < LONG else asked.get(name, core)
        return text[:longest]

    return write


def wordings(question: str, core: str) -> tuple[str, str]:
    """A text worded for and against what a question is about, with the phrases that it gives as examples."""
    hazards = [phrase for phrases in captions.HAZARD_PHRASES.values() for phrase in phrases]
    sides = [f"{core}, {hazards[len(core) % len(hazards)]}", f"{core}, {hazards[(len(core) + 1) % len(hazards)]}"]
    for place, way in enumerate(("for", "against")):
        if found := re.search(rf"worded {way} it, for example: (.*….*)", question):
            sides[place] = found[1].replace("…", core)
    if found := re.search(r"the two groups: .* \((.+)\); .* \((.+)\)", question):
        sides = [f"{core}, {phrase}" for phrase in _default_last(core, [found[2], found[1]])]
    return sides[0], sides[1]


def _default_last(core: str, groups: list[str]) -> list[str]:
    """The phrases of two groups, last the one that the embedded model draws of a subject whose group is not named."""
    violet = VIOLET_SHARE.get(str(captions.parse(core).get("occupation")), 0.0) > 0.5
    return sorted(groups, key=lambda phrase: ("violet" in phrase) == violet)


def value(schema: dict[str, Any], write: Write, rng: random.Random, entries: int = ENTRIES) -> Any:
    """A value that a JSON schema of ours takes, with the texts of `write` and lists of at most `entries`."""
    return _value(schema, schema.get("$defs", {}), write, rng, entries, "")


def _value(
    part: dict[str, Any], known: dict[str, Any], write: Write, rng: random.Random, entries: int, name: str | None
) -> Any:
    if "$ref" in part:
        return _value(known[part["$ref"].rpartition("/")[2]], known, write, rng, entries, name)
    if "enum" in part:
        return rng.choice(part["enum"])
    if "anyOf" in part:
        return _value(part["anyOf"][0], known, write, rng, entries, name)
    low, high = _bounds(part.get("description", ""))
    match part.get("type"):
        case "object":
            fields = part["properties"].items()
            return {name: _value(field, known, write, rng, entries, name) for name, field in fields}
        case "array":
            count = max(low or 1, min(entries, high if high is not None else entries))
            return [_value(part["items"], known, write, rng, entries, None) for _ in range(int(count))]
        case "integer":
            least = 1 if low is None else int(low)
            return rng.randint(least, max(least, int(high)) if high is not None else max(least, 1))
        case "number":
            start = low or 0.0
            return round(rng.uniform(start, start + 1 if high is None else high), 2)
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
    return write(10_000 if high is None else int(high), name)


def _bounds(words: str) -> tuple[float | None, float | None]:
    """The least and the most that a description says, as `typed/schemas` puts bounds into words."""
    number = r"(-?\d+(?:\.\d+)?)"
    if between := re.search(rf"{number} to {number} (?:characters|entries)", words):
        return float(between[1]), float(between[2])
    low, high = re.search(rf"at least {number}", words), re.search(rf"at most {number}", words)
    return float(low[1]) if low else None, float(high[1]) if high else None


def answer(asked: dict[str, Any], sample: int = 0) -> str:
    """What it says to the body of a POST to /chat/completions."""
    question = "\n".join(_text(message["content"]) for message in asked["messages"] if message["role"] == "user")
    rng = random.Random(f"{question} {sample}")
    form = asked.get("response_format") or {}
    if form.get("type") == "json_schema":
        return json.dumps(value(form["json_schema"]["schema"], author(question, rng), rng))
    return json.dumps({"text": scene(rng)}) if form else scene(rng)


def _text(content: Any) -> str:
    """The text of a message, with or without images; the images count by their content."""
    return content if isinstance(content, str) else json.dumps(content)


def completion(asked: dict[str, Any], content: str | None, **message: Any) -> dict[str, Any]:
    """A chat completion in OpenAI's shape that says `content`; it counts a token for four characters."""
    raw = json.dumps(asked)
    given, said = len(raw) // 4, len(content or "") // 4
    return {
        "id": f"chatcmpl-{hashlib.sha256(raw.encode()).hexdigest()[:24]}",
        "object": "chat.completion",
        "created": 1790000000,
        "model": asked["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None, **message},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said},
    }


class MockTransport:
    """Calls that go nowhere."""

    def __init__(self, endpoint: Endpoint) -> None:
        del endpoint  # one mock is like another

    async def send(self, body: bytes, sample: int = 0, hear: Hear = deaf) -> dict[str, Any]:
        """The completion for an encoded body; it depends on the question and `sample` alone."""
        await asyncio.sleep(0)  # as a call would, it lets others go on
        asked = json.loads(body)
        return completion(asked, answer(asked, sample))

    async def close(self) -> None:
        """There is nothing to close."""


def _check(address: str, variable: str) -> str:
    if address != "mock:":
        raise EndpointError(f"{variable} is {address!r}: the mock has no address, it is mock: and no more")
    return address


def _served_as(endpoint: Endpoint) -> str:
    del endpoint  # whatever it is asked by
    return f"mock-{VERSION}"


def _serve(endpoint: Endpoint, say: Say) -> AbstractContextManager[Endpoint]:
    return nullcontext(dataclasses.replace(endpoint, model=_served_as(endpoint)))


PROVIDER = Provider(
    name="the mock",
    example="mock:",
    check=_check,
    here=lambda address: True,
    connect=MockTransport,
    status=lambda endpoint: "the mock, which replies from word lists and understands nothing",
    model=lambda address: "mock",
    served_as=_served_as,
    serve=_serve,
)
