"""Kill -9 a training at random steps, rerun the same command, and compare the weights with an undisturbed run's.

Through training/run.py, as a user would. A kill comes when metrics or checkpoints show that a step has been reached,
plus a random moment; the run goes on from its last checkpoint. Bit-equal is asked for, on a CPU.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.support import tiny
from benchmarks.support.results import Row, record

CASES = {
    "livo": ("sd15", ["--method", "livo", "--leak-penalty", "1"]),
    "mapo-lora": ("sdxl", ["--method", "mapo", "--lora-rank", "4", "--uncond-share", "0.2"]),
    "dpo-ema": ("sd15", ["--method", "dpo", "--ema", "0.9"]),
}


def start(out: Path, work: Path, shape: str, flags: list[str], steps: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "training/run.py", "--data", str(work / "pairs"), "--model", str(work / shape)]
    command += ["--out", str(out), "--steps", str(steps), "--batch", "2", "--resolution", "64", "--device", "cpu"]
    command += ["--checkpoint-every", "3", "--lr", "1e-3", *flags]
    environment = {**os.environ, "DATAGEN_TRAINING_CACHE": str(work / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(child: subprocess.Popen[bytes]) -> None:
    _, said = child.communicate()
    if child.returncode:
        sys.exit(f"training ended with {child.returncode}: {said.decode()[-500:]}")


def kill_at(child: subprocess.Popen[bytes], out: Path, step: int, rng: random.Random) -> int | None:
    """Kill once the last checkpoint before `step` is there and a random moment has passed; the checkpoint's step.

    None if the run was done before that.
    """
    wanted = step - step % 3
    while child.poll() is None:
        held = [int(path.name.split("-")[1]) for path in out.glob("checkpoints/step-*")]
        if max(held, default=0) >= wanted:
            time.sleep(rng.uniform(0, 1.0))
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
                return max([int(p.name.split("-")[1]) for p in out.glob("checkpoints/step-*")], default=0)
            break
        time.sleep(0.005)
    finish(child)
    return None


def weights(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.safetensors"))}


def main() -> int:
    """Print a line a case; 1 if weights differ in one bit."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks resume", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("cases", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--kills", type=int, default=5, help="a case, at different random steps")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, failed, rows = random.Random(given.seed), False, []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        tiny.pairs(8, work)
        for name in given.cases:
            shape, flags = CASES[name]
            tiny.model(shape, work)
            finish(start(work / f"{name}-whole", work, shape, flags, given.steps))
            out, held = work / f"{name}-killed", []
            for step in sorted(rng.sample(range(1, given.steps), given.kills)):
                found = kill_at(start(out, work, shape, flags, given.steps), out, step, rng)
                held += [] if found is None else [found]
            finish(start(out, work, shape, flags, given.steps))
            whole, killed = weights(work / f"{name}-whole"), weights(out)
            equal = bool(whole) and whole == killed
            failed = failed or not equal or len(held) < given.kills
            print(
                f"{name}: {len(held)} kills with checkpoints of steps {held} of {given.steps}; "
                f"{len(whole)} files of weights {'bit-equal' if equal else 'DIFFER'}",
                flush=True,
            )
            unequal = sum(whole[file] != killed.get(file) for file in whole)
            note = f"{len(held)} kills, {len(whole)} files"
            rows.append(Row(f"{name}: files of weights that differ", unequal, "files", "= 0", note=note))
    record("resume", rows)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
