"""Images a second against the stock pipeline, a prompt at a time and at its best batch, and where the time goes.

A tiny Stable Diffusion 1.5 (128 px, 10 steps, guidance 7.5), two seeds a prompt, by turns in one process
with one thread, in CPU time. Both draw the same noise, and the images are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import functools
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


def row(what: str, timed: Rounds, images: int, goal: str) -> Row:
    rate, spread = images / timed.seconds(1, cpu=True), timed.spread(cpu=True)
    print(f"{what}: {timed.ratio(cpu=True):.2f}x [{spread}], {rate:.2f} images a CPU second", flush=True)
    return Row(what, timed.ratio(cpu=True), "×", goal, spread, f"{rate:.1f} images a CPU second")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5, help="of A B B A")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--bf16", action="store_true", help="measure bfloat16 weights as well")
    given = parser.parse_args()
    torch.set_num_threads(1)
    asked = requests(given.prompts)
    with tempfile.TemporaryDirectory() as work:
        folder = tiny.model("sd15", Path(work))
        stock, ours = stock_pipeline(folder), stable_diffusion.load(str(folder), "", "ddim")
        print(f"U-Net of {sum(part.numel() for part in stock.unet.parameters()) / 1e6:.1f} M parameters", flush=True)
        batched = functools.partial(by_stock, stock, asked, best_batch(stock, asked))
        single, engine = functools.partial(a_prompt_at_a_time, stock, asked), functools.partial(by_engine, ours, asked)
        far = max(apart(batched(), engine()), apart(single(), engine()))
        print(f"images apart by at most {far} of 255", flush=True)

        def against(what: str, peer: Callable[[], Any], mine: Callable[[], Any], goal: str) -> Row:
            return row(what, abba(peer, mine, given.rounds, warm=0), len(asked), goal)

        rows = [
            Row("greatest difference of the images", far, "of 255", "≤ 1"),
            against("over the stock pipeline, a prompt at a time", single, engine, "≥ 2.2"),
            against("over the stock pipeline at its best batch", batched, engine, "≥ 1.08"),
            Row("time outside of U-Net and VAE, engine", percent(outside(ours._pipeline, engine)), "%", "≤ 2"),
            Row("time outside of U-Net and VAE, stock pipeline", percent(outside(stock, batched)), "%"),
        ]
        if given.bf16:
            half = functools.partial(by_engine, stable_diffusion.load(str(folder), "", "ddim", "bf16"), asked)
            rows.append(against("over the same, with bfloat16 weights", batched, half, "≥ 1.3"))
    for found in rows:
        print(f"{found.what}: {found.figure:g} {found.unit}", flush=True)
    record("generation", rows)
    return 0 if all(found.reached is not False for found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
