"""A run directory whose images are judged and not yet labelled, written at once: prompts, flat pictures, scores.

The scores are a simulated jury's: each judge sees the truth of a pair, which is as drawn in a known share, through
noise of its own and some that all share. What the truth is stands in no table; `write` returns it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from datagen import recipe as recipes
from datagen import records, store, version
from datagen.pipeline import plan
from datagen.recipe import Recipe
from datagen.records import Embedding, Image, Principle, Prompt, Score

JUDGES = ("clip", "pickscore", "hpsv2", "imagereward", "aesthetic_v1")
SCALES = (20.0, 1.0, 1.0, 1.0, 1.0)  # unequal, as those of real judges are
AXES = ("aligned", "violating", "keeps", "breaks")
SETTINGS = tuple(
    f'profiles.embedded.judges.{name}.{"model" if name == "clip" else "weights"}="embedded"' for name in JUDGES
)


def recipe(prompts: int, shard_size: int = 16, changes: tuple[str, ...] = ()) -> Recipe:
    """pick-style with so many prompts, whose jury is the embedded one."""
    return recipes.load(
        "pick-style", [f"prompts.count={prompts}", f"images.shard_size={shard_size}", "labels.min_match=0", *changes]
    )


def write(
    folder: Path, of: Recipe, obeyed: float = 0.85, seed: int = 0, draw: Callable[[str], bytes] | None = None
) -> np.ndarray:
    """Fill a folder; (prompts,) whether the chosen image of each really is the better one.

    `draw` gives the encoded picture of an image by its name; without it, all are flat.
    """
    run, rng = store.Run(folder), np.random.default_rng(seed)
    settings = {
        "digest": recipes.digest(of, "embedded"),
        "version": version(),
        "recipe": recipes.resolved(of, "embedded"),
    }
    count, size = of.prompts.count, of.images.shard_size
    true = rng.random(count) < obeyed
    with store.hold(run, settings):
        _commit(run, of, settings, "principles", 0, Principle, [_principle()])
        prompts = [_prompt(k) for k in range(count)]
        parts = [
            store.content_hash(records.to_table(Prompt, prompts[first : first + size]))
            for first in range(0, count, size)
        ]
        _commit(run, of, settings, "prompts", 0, Prompt, prompts, parts=parts)
        for index, first in enumerate(range(0, count, size)):
            some = prompts[first : first + size]
            images = [_image(prompt, side, draw or _flat) for prompt in some for side in ("chosen", "rejected")]
            _commit(run, of, settings, "images", index, Image, images)
            _commit(run, of, settings, "embeddings", index, Embedding, [])
            margins = _margins(rng, np.where(true[first : first + size], 1.0, -1.0))
            scores = [
                row
                for two, own in zip(zip(images[::2], images[1::2], strict=True), margins, strict=True)
                for row in _scores(two, own)
            ]
            _commit(run, of, settings, "scores", index, Score, scores)
    return true


def _margins(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """(pairs, judges): strength and noise a judge, and noise that all share."""
    strength = np.array([2.0, 1.5, 1.2, 1.6, 0.6])
    difficulty = rng.gamma(3.0, 1 / 3.0, len(truth))
    shared = rng.standard_normal(len(truth)) * 0.5
    noise = rng.standard_normal((len(truth), len(strength)))
    found: np.ndarray = (truth * difficulty)[:, None] * strength + noise + shared[:, None]
    return found


def _scores(two: tuple[Image, Image], margins: np.ndarray) -> list[Score]:
    """Half of a margin in favour of each image, on both sides of both axes."""
    rows = []
    for judge, scale, margin in zip(JUDGES, SCALES, margins, strict=True):
        for image, sign in zip(two, (0.25, -0.25), strict=True):
            for axis in AXES:
                value = (1 if axis in ("aligned", "keeps") else -1) * sign * float(margin) / scale
                rows.append(Score(image.image_id, image.prompt_id, judge, "1", axis, value))
    return rows


def _principle() -> Principle:
    return Principle(
        "pixel", "prefer", "style", "pixel art preferred", "{prompt}, pixel art", "{prompt}", "", "", "t", "s"
    )


def _prompt(k: int) -> Prompt:
    text = f"a chef number {k}"
    name = records.content_id("judged run", k)
    return Prompt(
        name, "pixel", "style", text, f"{text}, pixel art", text, "", "", name, "test" if k % 10 == 0 else "train", "t"
    )


def _image(prompt: Prompt, side: str, draw: Callable[[str], bytes]) -> Image:
    own = draw(f"{prompt.prompt_id} {side}")
    data = own + prompt.prompt_id.encode() + side.encode()  # past the end of the picture: no two are equal
    name = hashlib.sha256(data).hexdigest()[:16]
    return Image(name, prompt.prompt_id, side, 0, prompt.prompt, "", 1, "embedded", "r", "ddim", 20, 4.0, 8, 8, data)


def _flat(name: str) -> bytes:
    """A picture of a colour of its own."""
    file = io.BytesIO()
    colour = hashlib.sha256(name.encode()).digest()[:3]
    Pillow.new("RGB", (8, 8), tuple(colour)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def _commit(
    run: store.Run, of: Recipe, settings: dict[str, Any], stage: str, index: int, record: type, rows: list[Any],
    parts: list[str] | None = None,
) -> None:  # fmt: skip
    """As the pipeline does."""
    known = next(known for known in plan.STAGES if known.name == stage)
    before = _before(run, of, settings["digest"], known)
    made_from = plan.sources_of(before, known, [index], of)[0]
    run.commit(
        stage, index, records.to_table(record, rows), errors=0, seconds=0.0, digest=settings["digest"],
        version=version(), drops={}, stage_version=known.version, made_from=made_from,
        parts=parts or [],
    )  # fmt: skip


def _before(run: store.Run, of: Recipe, digest: str, known: Any) -> list[plan.Plan]:
    plans: list[plan.Plan] = []
    for stage in plan.STAGES[: plan.STAGES.index(known)]:
        plans.append(plan.of_stage(run, stage, plans, of, digest))
    return plans
