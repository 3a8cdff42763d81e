"""--max-cost under 200 concurrent calls: what the server billed, whatever failed and whoever was killed.

The server computes the bill from its own log: every call that it did the work for, also those whose connection it then
dropped. The client has a limit, is killed with -9 on the way, and runs again until the limit ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.llm.llm_faults import committed
from benchmarks.support.results import Row, record
from benchmarks.support.stub_server import Stub

INPUT, OUTPUT = 1.0, 1000.0  # dollars a million tokens
SAID = 5  # tokens of one of the server's replies, of the 16 that are allowed and reserved
CONCURRENCY = 200


def client(base_url: str, folder: Path, count: int, limit: float) -> None:
    """One run, whose errors end as those of `datagen` do."""
    from datagen.errors import DatagenError
    from datagen.llm.accounts.cache import Cache
    from datagen.llm.accounts.money import Budget, Ledger
    from datagen.llm.accounts.prices import Prices
    from datagen.llm.client import Client
    from datagen.llm.endpoint import Endpoint
    from datagen.llm.messages import Message, Request

    requests = [
        Request((Message("user", f"Write row {number}."),), stage="prompts", max_tokens=16) for number in range(count)
    ]
    cache, ledger = Cache(folder / "replies.sqlite"), Ledger(folder / "ledger.sqlite")
    endpoint = Endpoint(base_url, "stub-model", "stub-key", concurrency=CONCURRENCY, timeout=2.0)
    budget = Budget(ledger, Prices.load(base_url=base_url), "stub-model", limit)
    try:
        with Client(endpoint, cache, ledger, budget) as asker:
            asker.ask(requests)
    except DatagenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def billed(log: Path) -> float:
    """Dollars by the server's own account."""
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    done = [call for call in calls if call["fate"] in ("ok", "drop", "broken", "garbage", "refusal")]
    spent: float = sum(call["bytes"] // 4 * INPUT + SAID * OUTPUT for call in done)
    return spent / 1e6


def case(limit: float, rows: int, kills: int, faults: dict[str, Any]) -> Row:
    with tempfile.TemporaryDirectory() as where, Stub(Path(where, "log"), **faults) as server:
        folder = Path(where)
        prices = folder / "prices.toml"
        prices.write_text(f'[models."stub-model"]\ninput = {INPUT}\noutput = {OUTPUT}\n')
        command = [sys.executable, "-m", "benchmarks.llm.llm_budget", "--rows", str(rows)]
        command += ["--client", server.base_url, str(folder), str(limit)]
        environment = {**os.environ, "DATAGEN_PRICES": str(prices)}
        for _ in range(kills):
            child = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
            target = committed(folder) + 20
            while committed(folder) < target and child.poll() is None:
                time.sleep(0.01)
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        last = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
        bill, most = billed(folder / "log"), server.stats()["most_open"]
        print(f"limit ${limit:g}: billed ${bill:.4f} ({100 * bill / limit:.0f} %), {committed(folder)} of {rows} rows")
        print(f"  {kills} kills, at most {most} calls at once, exit code {last.returncode}: {last.stderr.strip()}")
        note = f"{most} calls at once, {kills} kills" + (", with faults" if "busy" in faults else "")
        return Row(f"billed with --max-cost {limit:g}", bill, "dollars", f"≤ {limit:g}", note=note)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--client", nargs=3, metavar=("URL", "FOLDER", "LIMIT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        client(given.client[0], Path(given.client[1]), given.rows, float(given.client[2]))
        return 0
    calm = {"delay": 0.5}  # long enough for all 200 to be in flight, as the limit is high enough
    rough = {"busy": 0.1, "error": 0.02, "drop": 0.02, "hang": 0.005, "delay": 0.05}
    cases = [(8.0, 0, calm), (2.0, 0, rough), (5.0, 3, rough), (100.0, 0, rough)]
    found = [case(limit, given.rows, kills, faults) for limit, kills, faults in cases]
    record("llm_budget", found)
    return 0 if all(row.reached for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
