"""A server that from some moment on answers nothing but 429: how soon a run stops, what it says, and what is lost.

Each case asks for all rows with a healthy server, turns it into a storm half-way, waits for the client to give up,
heals the server and runs the client again. Nothing may be lost and nothing that was answered may be bought again.
The last case is the program itself, `datagen run` with an LLM as its writer.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.llm.llm_faults import committed
from benchmarks.support.results import Row, record
from benchmarks.support.stub_server import Stub, calls, saying, serving

CASES = {"no Retry-After": "", "Retry-After: 1": "1", "Retry-After: 20": "20", "Retry-After: 3600": "3600"}
LIMIT_S = 60.0


def client(base_url: str, folder: Path, count: int) -> None:
    """One run, whose errors end as those of `datagen` do."""
    from datagen.errors import DatagenError
    from datagen.llm.accounts.cache import Cache
    from datagen.llm.accounts.money import Ledger
    from datagen.llm.client import Client
    from datagen.llm.endpoint import Endpoint
    from datagen.llm.messages import Message, Request

    requests = [Request((Message("user", f"Write row {number}."),), stage="prompts") for number in range(count)]
    cache, ledger = Cache(folder / "replies.sqlite"), Ledger(folder / "ledger.sqlite")
    try:
        with Client(Endpoint(base_url, "stub-model", "stub-key"), cache, ledger) as asker:
            replies = asker.ask(requests)
    except DatagenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    (folder / "rows.json").write_text(json.dumps([reply.value for reply in replies]))


def case(name: str, retry_after: str, rows: int) -> tuple[bool, list[Row]]:
    with tempfile.TemporaryDirectory() as where, Stub(Path(where, "log"), delay=0.05) as server:
        folder = Path(where)
        command = [sys.executable, "-m", "benchmarks.llm.llm_storm", "--rows", str(rows)]
        command += ["--client", server.base_url, str(folder)]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while committed(folder) < rows // 2 and child.poll() is None:
            time.sleep(0.01)
        server.change(busy=1.0, retry_after=retry_after)
        started, before = time.monotonic(), committed(folder)
        _, said = child.communicate()
        seconds, kept = time.monotonic() - started, committed(folder)
        answered = len(set(calls(folder / "log")))
        refused = server.stats()["busy"]
        server.change(busy=0.0)
        again = subprocess.run(command, check=False).returncode
        values = json.loads((folder / "rows.json").read_text())
        paid = collections.Counter(calls(folder / "log"))
    right = values == [saying(f"Write row {number}.") for number in range(rows)]
    print(f"{name}: stopped after {seconds:.1f} s with exit code {child.returncode}, {refused} calls refused")
    print(f"  it said: {said.strip()}")
    print(f"  {before} rows before, {kept} kept of {answered} answered; rerun: exit code {again}, all rows {right}")
    print(f"  bought twice: {paid.total() - len(paid)}")
    once = paid.total() == len(paid) == rows
    stopped = seconds < LIMIT_S and child.returncode == 1 and said.count("\n") == 1
    measured = [
        Row(f"{name}: stopped after", seconds, "s", f"< {LIMIT_S:g}"),
        Row(f"{name}: answered rows lost", answered - kept, "rows", "= 0"),
        Row(f"{name}: calls bought twice by the rerun", paid.total() - len(paid), "calls", "= 0"),
    ]
    return stopped and kept == answered and right and once and not again, measured


SETTINGS = ("prompts.count=60", "profiles.embedded.writer=llm", "profiles.embedded.steps=2", "labels.min_match=0")


def program(base_url: str, folder: Path, name: str) -> subprocess.Popen[str]:
    """`datagen run` with few calls at once, so that a storm finds some to make."""
    command = [sys.executable, "-m", "datagen", "run", "pick-safety", "--profile", "embedded", "--workers", "1"]
    command += ["--out", str(folder / name), *(part for setting in SETTINGS for part in ("--set", setting))]
    environment = {"DATAGEN_LLM_BASE_URL": base_url, "DATAGEN_LLM_MODEL": "stub-model"}
    environment |= {"DATAGEN_CACHE": str(folder / "cache"), "DATAGEN_LLM_CONCURRENCY": "4"}
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


def program_case() -> tuple[bool, list[Row]]:
    """The same storm over `datagen run`; the calls answered in all are those of a run without one."""
    with tempfile.TemporaryDirectory() as where, serving(writes=True) as (base_url, server):
        calm = program(base_url, Path(where), "calm")
        calm.communicate()
        needed = server.counts["ok"]
    with tempfile.TemporaryDirectory() as where, serving(writes=True, delay=0.2) as (base_url, server):
        child = program(base_url, Path(where), "storm")
        while server.counts["ok"] < needed // 2 and child.poll() is None:
            time.sleep(0.01)
        server.change(busy=1.0)
        started = time.monotonic()
        _, said = child.communicate()
        seconds = time.monotonic() - started
        server.change(busy=0.0)
        again = program(base_url, Path(where), "storm")
        again.communicate()
        paid = server.counts["ok"]
    errors = [line for line in said.splitlines() if line.startswith("error")]
    print(f"datagen run: stopped after {seconds:.1f} s with exit code {child.returncode}")
    print(f"  it said: {' '.join(errors)}")
    print(f"  rerun: exit code {again.returncode}; {paid} calls answered in both, {needed} in a run without a storm")
    stopped = seconds < LIMIT_S and child.returncode == 1 and len(errors) == 1 and "Traceback" not in said
    # A process asks once which way of saying a schema the server understands: that is the one call more.
    measured = [
        Row("datagen run: stopped after", seconds, "s", f"< {LIMIT_S:g}"),
        Row("datagen run: messages of an error", len(errors), "messages", "= 1"),
        Row("datagen run: calls more than without a storm", paid - needed, "calls", "= 1", note="the rerun's first"),
    ]
    return stopped and paid - needed == 1 and not calm.returncode and not again.returncode, measured


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--client", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        client(given.client[0], Path(given.client[1]), given.rows)
        return 0
    found = [*(case(name, retry_after, given.rows) for name, retry_after in CASES.items()), program_case()]
    record("llm_storm", [row for _, rows in found for row in rows])
    return 0 if all(good for good, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
