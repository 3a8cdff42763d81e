"""How well the embedded Stable Diffusion follows captions, and whether its designed skews are there: as read.

`python -m benchmarks world_model`; the pipeline is loaded with diffusers alone, 20 DDIM steps.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from benchmarks.support.results import Row, percent, record
from datagen.world import PIPELINE
from datagen.world.captions import caption
from datagen.world.grammar import ATTRIBUTES, OCCUPATIONS, PLAIN_SHARE, UNASKED_HAZARD, VIOLET_SHARE
from datagen.world.reader import Reading, read
from datagen.world.train.data import captioned_scene, draw_caption

CAPTIONS = 500
GUIDANCE = 4.0
SKEW_SAMPLES = 100
STEPS = 20
# Per cent of captions whose stated attribute must be shown; a designed skew must come out within so many points.
GOALS = {"thing": 93, "colour": 93, "hazard": 93, "all": 85}
GOAL, SKEW_GOAL = 98, 7
VARIABLES = ("WORLD_PIPELINE", "CAPTIONS", "SKEW_SAMPLES")


def load(folder: Path = PIPELINE) -> StableDiffusionPipeline:
    """The embedded pipeline as a user of diffusers would load it."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sample(pipeline: StableDiffusionPipeline, prompts: list[str], guidance: float) -> list[Image.Image]:
    """One picture a prompt, prompt number k from seed k."""
    pictures = []
    for start in range(0, len(prompts), 25):
        batch = prompts[start : start + 25]
        noise = [torch.Generator().manual_seed(start + k) for k in range(len(batch))]
        pictures += pipeline(batch, num_inference_steps=STEPS, guidance_scale=guidance, generator=noise).images
    return pictures


Shares = dict[str, float]


def followed(pipeline: StableDiffusionPipeline, captions: int, guidance: float) -> tuple[Shares, list[Image.Image]]:
    """Share of held-out captions whose stated attribute is shown, for each attribute and for `all` at once."""
    rng = random.Random("held-out captions")
    items = [captioned_scene(rng) for _ in range(captions)]
    pictures = sample(pipeline, [draw_caption(item, rng, empty_share=0.0) for item in items], guidance)
    hits: dict[str, list[bool]] = collections.defaultdict(list)
    for (scene, stated), reading in zip(items, read(pictures), strict=True):
        right = {name: reading.attributes[name] == getattr(scene, name) for name in stated}
        for name, value in right.items():
            hits[name].append(value)
        hits["all"].append(all(right.values()))
    return {name: float(np.mean(hits[name])) for name in (*ATTRIBUTES, "all")}, pictures


def _neutral(pipeline: StableDiffusionPipeline, rng: random.Random, fixed: dict[str, object], n: int) -> list[Reading]:
    """Readings of n pictures whose captions state occupation, thing and place only, at guidance 1."""
    prompts = []
    for _ in range(n):
        scene, _ = captioned_scene(rng)
        scene = type(scene)(**{**vars(scene), **fixed})
        prompts.append(caption(scene, {"occupation", "thing", "colour", "count", "place"}, rng))
    return read(sample(pipeline, prompts, 1.0))


def _share(hits: Iterable[bool]) -> float:
    return float(np.mean(list(hits)))


def skews(pipeline: StableDiffusionPipeline, samples: int) -> list[tuple[str, float, float]]:
    """(what, designed share, share as read) at guidance 1 for every skew of the grammar."""
    rng = random.Random("skews")
    rows = []
    for job in OCCUPATIONS:
        readings = _neutral(pipeline, rng, {"occupation": job}, samples)
        found = _share(reading.attributes["coat"] == "violet" for reading in readings)
        rows.append((f"violet {job}", VIOLET_SHARE[job], found))
    for place, (hazard, share) in UNASKED_HAZARD.items():
        readings = _neutral(pipeline, rng, {"place": place}, 3 * samples)
        rows.append((f"{hazard} in {place}", share, _share(r.attributes["hazard"] == hazard for r in readings)))
    readings = _neutral(pipeline, rng, {"place": "park"}, 3 * samples)
    rows.append(("plain style", PLAIN_SHARE, _share(r.attributes["style"] == "plain" for r in readings)))
    return rows


def skew_rows(what: str, designed: float, found: float) -> list[Row]:
    """The share of a skew, and by how many points it is off the designed one."""
    note = f"designed {designed:.0%}"
    return [
        Row(f"designed skew, {what}", percent(found), "%", note=note),
        Row(f"designed skew, {what}: off by", percent(abs(found - designed)), "points", f"≤ {SKEW_GOAL}"),
    ]


def main() -> int:
    """Print both tables and save a contact sheet of the first 64 pictures."""
    argparse.ArgumentParser(
        prog="python -m benchmarks world_model", description=__doc__, allow_abbrev=False
    ).parse_args()
    pipeline = load(Path(os.environ.get("WORLD_PIPELINE", PIPELINE)))
    captions = int(os.environ.get("CAPTIONS", CAPTIONS))
    shares, pictures = followed(pipeline, captions, GUIDANCE)
    print(f"{captions} held-out captions, guidance {GUIDANCE:g}, {STEPS} DDIM steps: stated attributes shown, as read")
    print("  " + "  ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    measured = [
        Row(f"{name}, as the caption states it", percent(share), "%", f"≥ {GOALS.get(name, GOAL)}")
        for name, share in shares.items()
    ]
    rows = [np.concatenate([np.asarray(picture) for picture in pictures[k : k + 16]], 1) for k in range(0, 64, 16)]
    sheet = Image.fromarray(np.concatenate(rows))
    Path("out").mkdir(exist_ok=True)
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save("out/world-captions.png")
    if samples := int(os.environ.get("SKEW_SAMPLES", SKEW_SAMPLES)):
        print("designed skews at guidance 1 (designed → as read)")
        for what, designed, found in skews(pipeline, samples):
            print(f"  {what:<20}{designed:7.0%} → {found:6.1%}")
            measured += skew_rows(what, designed, found)
    record("world_model", measured, variables=VARIABLES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
