"""Memory of a process that draws with a full-size SDXL or SD 1.5 on a CPU, and how soon its first step is done.

`python -m benchmarks generator_memory --work FOLDER`; the models are made there at random (9 GB of disk). Each is
loaded by a process of its own and draws one picture; memory is the kernel's high-water mark of the process, with the
pages of mapped files. Needs 16 GiB and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.support import full_size
from benchmarks.support.results import Row, record

KINDS = ("sdxl", "sd15")
GOALS = {"sdxl": "≤ 9", "sd15": "≤ 6.6"}


def draw(folder: str, side: int, steps: int) -> None:
    """Print what this process took: GB at its peak, seconds until the model was there and the first step was done."""
    started = time.monotonic()
    from datagen import generators
    from datagen.generators import stable_diffusion
    from datagen.generators.protocol import Request

    generator = stable_diffusion.load(folder, "", "euler")
    loaded = time.monotonic() - started
    steps_done: list[float] = []
    unet = generator._pipeline.unet
    unet.register_forward_hook(lambda *_: steps_done.append(time.monotonic() - started))
    generators.in_order(generator, [Request("a chef in a park", "", 1, steps, 5.0, side, side)])
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    print(json.dumps({"peak": peak / 1e9, "loaded": loaded, "first": steps_done[0]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--work", type=Path, required=True, help="where the models are made, and stay")
    parser.add_argument("--kind", choices=KINDS, action="append", help="which model (both)")
    parser.add_argument("--side", type=int, default=512, help="of the one picture, in pixels (512)")
    parser.add_argument("--steps", type=int, default=2, help="of the one picture (2)")
    parser.add_argument("--draw", help=argparse.SUPPRESS)  # in a process of its own: the folder
    given = parser.parse_args()
    if given.draw:
        return draw(given.draw, given.side, given.steps)
    missed = []
    for kind in given.kind or KINDS:
        folder = full_size.save(kind, given.work / kind)
        command = [sys.executable, "-m", __spec__.name, "--work", str(given.work), "--kind", kind]
        command += ["--side", str(given.side), "--steps", str(given.steps), "--draw", str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{kind}, {given.side} px: {told['peak']:.2f} GB at its peak, loaded in {told['loaded']:.0f} s, "
            f"first step done after {told['first']:.0f} s",
            flush=True,
        )
        rows = [
            Row(f"{kind}, {given.side} px: memory at its peak", told["peak"], "GB", GOALS[kind]),
            Row(f"{kind}, {given.side} px: until the first step is done", told["first"], "s"),
            Row(f"{kind}, {given.side} px: until it is loaded", told["loaded"], "s"),
        ]
        record("generator_memory", rows)
        if told["peak"] > float(GOALS[kind].split()[1]):
            missed.append(kind)
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
