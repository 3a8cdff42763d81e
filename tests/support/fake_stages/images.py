"""A flat picture a side; with the switch `content-images` one prompt of three fails as content."""

from __future__ import annotations

import hashlib

from PIL import Image as Pillow

import fake_stages
from datagen.images import encode
from datagen.records import Image, Prompt, Written, content_id, seed_for
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Image]:
    fake_stages.note("images", [prompt.prompt_id for prompt in shard.rows(Prompt)])
    return Written([_image(context, prompt, side) for side in ("chosen", "rejected") for prompt in shard.rows(Prompt)])


def _image(context: Context, prompt: Prompt, side: str) -> Image:
    profile, text = context.profile, getattr(prompt, f"{side}_prompt")
    fails = fake_stages.switch("content-images") and int(prompt.cluster) % 3 == 0
    seed = seed_for(context.recipe.seed, prompt.prompt_id, 0)
    picture = Pillow.new("RGB", (8, 8), (seed % 256, len(text), 200 if side == "chosen" else 20))
    data = None if fails else encode.encode(picture, context.recipe.images.format)
    image_id = hashlib.sha256(data).hexdigest()[:16] if data else content_id(prompt.prompt_id, side)
    return Image(
        image_id, prompt.prompt_id, side, 0, text, "", seed, "fake", "1", "ddim", profile.steps, profile.guidance, 8,
        8, data, "black image" if fails else None,
    )  # fmt: skip


STAGE = Stage("images", Image, run)
