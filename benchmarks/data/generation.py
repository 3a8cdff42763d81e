"""Images a second against the stock pipeline, a prompt at a time and at its best batch, and where the time goes.

A tiny Stable Diffusion 1.5 (128 px, 10 steps, guidance 7.5), two seeds a prompt, by turns in one process
with one thread, in CPU time. Both draw the same noise, and the images are compared before anything is timed. Each
comparison can be run alone: `python -m benchmarks generation --against batch --batch 16 --rounds 3`.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support import tiny
from benchmarks.support.interleaved import Rounds, abba
from benchmarks.support.results import Row, percent, record
from datagen import generators
from datagen.generators import stable_diffusion
from datagen.generators.protocol import Request

SEEDS, STEPS, GUIDANCE, SIDE = 2, 10, 7.5, 128
BATCHES = (4, 8, 16)  # of the stock pipeline's calls, of which the fastest is its best
NEGATIVE = "plain, blurred"
BEST = "at its best batch"
# What is compared: as the rows call it, and what the engine is loaded with.
NAMES = {
    "prompt": ", a prompt at a time",
    "batch": f" {BEST}",
    "bf16": f" {BEST}, with bfloat16 weights",
    "compile": f" {BEST}, with blocks compiled",
}
FASTER: dict[str, dict[str, Any]] = {
    "prompt": {},
    "batch": {},
    "bf16": {"precision": "bf16"},
    "compile": {"compile": True},
}

# What is computed → the names of torch's operators that do it.
OPERATORS = {
    "convolutions": r"convolution",
    "matrix products": r"^aten::(addmm|mm|bmm|baddbmm|linear)$",
    "attention": r"attention|softmax",
    "norms": r"_norm$",
}


def requests(prompts: int) -> list[Request]:
    """Two images of each of so many prompts."""
    return [
        Request(f"a baker no {k}, in a park", NEGATIVE, SEEDS * k + seed, STEPS, GUIDANCE, SIDE, SIDE)
        for k in range(prompts)
        for seed in range(SEEDS)
    ]


def parts(sequence: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(sequence), size):
        yield sequence[start : start + size]


def stock_pipeline(folder: Path) -> Any:
    """diffusers' pipeline as a script has it, without a progress bar."""
    import diffusers

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def by_stock(pipeline: Any, asked: list[Request], size: int) -> list[Any]:
    """All images, so many requests a call."""
    made: list[Any] = []
    for part in parts(asked, size):
        made += pipeline(
            [request.text for request in part], negative_prompt=[NEGATIVE] * len(part),
            num_inference_steps=STEPS, guidance_scale=GUIDANCE, width=SIDE, height=SIDE,
            generator=[torch.Generator("cpu").manual_seed(request.seed) for request in part],
        ).images  # fmt: skip
    return made


def a_prompt_at_a_time(pipeline: Any, asked: list[Request]) -> list[Any]:
    """All images, the two of a prompt in one call."""
    made: list[Any] = []
    for part in parts(asked, SEEDS):
        made += pipeline(
            part[0].text, negative_prompt=NEGATIVE, num_images_per_prompt=SEEDS,
            num_inference_steps=STEPS, guidance_scale=GUIDANCE, width=SIDE, height=SIDE,
            generator=[torch.Generator("cpu").manual_seed(request.seed) for request in part],
        ).images  # fmt: skip
    return made


def by_engine(generator: Any, asked: list[Request]) -> list[Any]:
    """All images as a run has them drawn; no text is known from before."""
    generator._texts.forget()
    return generators.in_order(generator, asked)


def apart(one: list[Any], other: list[Any]) -> int:
    """The greatest difference of two lists of images, of 255."""
    pairs = zip(one, other, strict=True)
    return max(int(np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max()) for a, b in pairs)


def best_batch(pipeline: Any, asked: list[Request]) -> int:
    """The number of requests a call by which the stock pipeline is fastest."""
    spent = {}
    for size in BATCHES:
        started = time.process_time()
        by_stock(pipeline, asked, size)
        spent[size] = time.process_time() - started
    print("stock, CPU seconds by batch: " + ", ".join(f"{size}: {taken:.1f}" for size, taken in spent.items()))
    return min(spent, key=spent.__getitem__)


def outside(pipeline: Any, work: Callable[[], Any]) -> float:
    """The share of some work's CPU time that is spent outside of U-Net and VAE."""
    inside = 0.0

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            started = time.process_time()
            made = call(*args, **kwargs)
            inside += time.process_time() - started
            return made

        return watched

    forward, decode = pipeline.unet.forward, pipeline.vae.decode
    pipeline.unet.forward, pipeline.vae.decode = timed(forward), timed(decode)
    try:
        started = time.process_time()
        work()
        return 1 - inside / (time.process_time() - started)
    finally:
        pipeline.unet.forward, pipeline.vae.decode = forward, decode


def profile(work: Callable[[], Any]) -> list[Row]:
    """Where the CPU time of some work goes, by what is computed."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        work()
    spent = dict.fromkeys([*OPERATORS, "everything else"], 0.0)
    for event in seen.key_averages():
        kind = next((kind for kind, names in OPERATORS.items() if re.search(names, event.key)), "everything else")
        spent[kind] += event.self_cpu_time_total
    total = sum(spent.values())
    return [Row(f"profile of the engine: {kind}", percent(time / total), "%") for kind, time in spent.items()]


def row(what: str, timed: Rounds, images: int, goal: str) -> Row:
    rate, spread = images / timed.seconds(1, cpu=True), timed.spread(cpu=True)
    print(f"{what}: {timed.ratio(cpu=True):.2f}x [{spread}], {rate:.2f} images a CPU second", flush=True)
    return Row(what, timed.ratio(cpu=True), "×", goal, spread, f"{rate:.1f} images a CPU second")


def compare(what: str, stock: Any, load: Callable[..., Any], given: argparse.Namespace) -> list[Row]:
    """The rows of one comparison: images held against each other first, then time by turns, and where it goes."""
    asked = requests(given.prompts)
    name = NAMES[what].replace(BEST, f"in batches of {given.batch}") if given.batch else NAMES[what]
    ours = load(**FASTER[what])
    engine = functools.partial(by_engine, ours, asked)
    if what == "prompt":
        peer, goal = functools.partial(a_prompt_at_a_time, stock, asked), "≥ 2.2"
    else:
        peer = functools.partial(by_stock, stock, asked, given.batch or best_batch(stock, asked))
        goal = "≥ 1.08" if what == "batch" else "≥ 1.3"
    far = apart(peer(), engine())
    print(f"{name}: images apart by at most {far} of 255", flush=True)
    found = row(f"over the stock pipeline{name}", abba(peer, engine, given.rounds, warm=0), len(asked), goal)
    rows = [
        Row(f"greatest difference of the images{name}", far, "levels", "" if what == "bf16" else "≤ 1"),
        found,
    ]
    if what == "batch":
        rows += [
            Row("time outside of U-Net and VAE, engine", percent(outside(ours._pipeline, engine)), "%", "≤ 2"),
            Row("time outside of U-Net and VAE, stock pipeline", percent(outside(stock, peer)), "%"),
        ]
    return rows


def main() -> int:
    """Print and record the figures; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5, help="of A B B A")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--against", choices=NAMES, action="append", help="which comparison (prompt and batch)")
    parser.add_argument("--profile", action="store_true", help="where the engine's time goes, and nothing else")
    parser.add_argument("--batch", type=int, help="of the stock pipeline; without it, its fastest is looked for")
    given = parser.parse_args()
    torch.set_num_threads(1)
    reached = True
    with tempfile.TemporaryDirectory() as work:
        folder = tiny.model("sd15", Path(work))
        stock, load = stock_pipeline(folder), functools.partial(stable_diffusion.load, str(folder), "", "ddim")
        print(f"U-Net of {sum(part.numel() for part in stock.unet.parameters()) / 1e6:.1f} M parameters", flush=True)
        measured: list[Callable[[], list[Row]]]
        if given.profile:
            measured = [lambda: profile(functools.partial(by_engine, load(), requests(given.prompts)))]
        else:
            named = given.against or ["prompt", "batch"]
            measured = [functools.partial(compare, what, stock, load, given) for what in named]
        for measure in measured:
            rows = measure()
            for found in rows:
                print(f"{found.what}: {found.figure:g} {found.unit}", flush=True)
            record("generation", rows)
            reached &= all(found.reached is not False for found in rows)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
