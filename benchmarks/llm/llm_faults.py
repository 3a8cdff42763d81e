"""A server that fails in every way, and a client that is killed with -9 and run again: what is lost or paid twice.

The server (a process of its own) answers 20 % of the calls with 429, 5 % with 500, drops 2 %, leaves 2 % hanging, and
sends 5 % broken content and 1 % refusals. The client asks for all rows, is killed at random moments, and runs again
with the same cache and ledger until it ends by itself.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from benchmarks.support.results import Row, record
from benchmarks.support.stub_server import Stub, calls, saying

FAULTS: dict[str, Any] = {
    "busy": 0.2,
    "error": 0.05,
    "drop": 0.02,
    "hang": 0.02,
    "broken": 0.05,
    "refusal": 0.01,
    "delay": 0.02,
}
CONCURRENCY = 64


class Written(BaseModel):
    """What a row asks for."""

    prompt: str
    negative: str


def client(base_url: str, folder: Path, count: int) -> None:
    """One run: ask for all rows and write what came, in order."""
    from datagen.llm.accounts.cache import Cache
    from datagen.llm.accounts.money import Ledger
    from datagen.llm.client import Client
    from datagen.llm.endpoint import Endpoint
    from datagen.llm.messages import Message, Request

    endpoint = Endpoint(base_url, "stub-model", "stub-key", concurrency=CONCURRENCY, timeout=2.0)
    requests = [Request((Message("user", f"Write row {number}."),), Written, "prompts") for number in range(count)]
    cache, ledger = Cache(folder / "replies.sqlite"), Ledger(folder / "ledger.sqlite")
    with Client(endpoint, cache, ledger) as asker:
        replies = asker.ask(requests)
    rows = [{"prompt": getattr(reply.value, "prompt", None), "error": reply.error} for reply in replies]
    (folder / "rows.json").write_text(json.dumps(rows))


def committed(folder: Path) -> int:
    """Completions in the cache now."""
    path = folder / "replies.sqlite"
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM replies").fetchone()[0])
    except sqlite3.OperationalError:  # the first run has made the file and not yet its tables
        return 0
    finally:
        connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--client", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        client(given.client[0], Path(given.client[1]), given.rows)
        return 0
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name, Stub(Path(name, "log"), seed=given.seed, **FAULTS) as server:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmarks.llm.llm_faults", "--rows", str(given.rows)]
        command += ["--client", server.base_url, str(folder)]
        in_flight = 0
        for kill in range(given.kills):
            child = subprocess.Popen(command, start_new_session=True)
            # At so many more rows, so that every kill hits a run that is at work, whatever the machine's speed.
            target = committed(folder) + rng.randint(1, given.rows // (given.kills + 1))
            while committed(folder) < target and child.poll() is None:
                time.sleep(0.02)
            if child.poll() is not None:
                sys.exit(f"the client ended by itself with {child.returncode} before kill {kill + 1}")
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            in_flight += CONCURRENCY
            print(f"kill {kill + 1}: {committed(folder)} completions are kept", flush=True)
        started = time.monotonic()
        code = subprocess.run(command, check=False).returncode
        print(f"last run: {time.monotonic() - started:.0f} s, exit code {code}")
        return report(folder, given.rows, in_flight) or code


def report(folder: Path, count: int, in_flight: int) -> int:
    rows = json.loads((folder / "rows.json").read_text())
    errors = collections.Counter(row["error"].split(":")[0] for row in rows if row["error"])
    right = [saying(f"Write row {number}.") for number in range(count)]
    complete = [row["prompt"] for row in rows if not row["error"]]
    swapped = sum(not row["error"] and row["prompt"] != said for row, said in zip(rows, right, strict=False))
    paid = collections.Counter(calls(folder / "log"))
    # A run asks once how the server takes schemas; that call is the same each time, and it is counted apart.
    (probe, probes), *_ = paid.most_common(1)
    del paid[probe]
    again = sum(times - 1 for times in paid.values())
    fates = collections.Counter(json.loads(line)["fate"] for line in (folder / "log").read_text().splitlines())
    print(f"server: {dict(fates.most_common())}")
    print(f"{len(rows)} rows: {len(complete)} complete, content errors {dict(errors)}")
    twice = len(complete) - len(set(complete))
    print(f"lost {count - len(rows)}, twice {twice}, another row's reply {swapped}; {probes} probes of the server")
    print(f"paid calls {sum(paid.values())}, bought again {again}; in flight at the kills: at most {in_flight}")
    rates = [f"{share:.0%} {fault}" for fault, share in FAULTS.items() if fault != "delay"]
    measured = [
        Row("rows asked for", count, "rows", note=", ".join(rates)),
        Row("rows complete", len(complete), "rows"),
        Row("rows with a content error", sum(errors.values()), "rows"),
        Row("rows lost", count - len(rows), "rows", "= 0"),
        Row("rows that came twice", twice, "rows", "= 0"),
        Row("rows with another row's reply", swapped, "rows", "= 0"),
        Row("paid calls", sum(paid.values()), "calls"),
        Row("calls bought again", again, "calls", f"≤ {in_flight}", note="goal: those in flight at the kills"),
    ]
    record("llm_faults", measured)
    good = len(rows) == count and not twice and not swapped and again <= in_flight
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
