"""Images from a stock diffusers pipeline, with what training wrote: the same jobs give the same pictures.

Noise comes from each job's own seed, so arms that share jobs differ by the adapter alone.
"""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from datagen.weights import adapters, pipelines
from datagen.weights.value_pipeline import FOLDERS
from training.errors import TrainingError
from training.inference.value_guide import ValueGuide
from training.models.diffusion import find, pick_device
from training.models.embedded import resolve_model
from training.progress import Progress

GRID_ROWS = 8


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to make: which prompt, its seed, and the principles whose tokens it gets."""

    prompt: int
    seed: int
    principles: tuple[str, ...] = ()


def load_pipeline(model: str, device: str, revision: str = "") -> Any:
    """The stock pipeline of the model, quiet, without a safety checker (it would black out what is measured).

    Raises ModelError or TrainingError, one line.
    """
    loaded = pipelines.load(find(resolve_model(model), revision))
    say(loaded.notes)
    loaded.model.set_progress_bar_config(disable=True)
    return loaded.model.to(pick_device(device))


def attach_adapter(pipe: Any, path: Path) -> ValueGuide | None:
    """Put what training wrote, or a LoRA file, into the pipeline; a value encoder comes back as a guide.

    Raises ModelError or TrainingError, one line, for what does not fit the pipeline.
    """
    if (path / FOLDERS[0]).is_dir():
        return ValueGuide(pipe, path)
    if (path / "unet").is_dir():
        pipe.unet = adapters.load_unet(pipe, path / "unet")
        return None
    if path.is_file() or (path / adapters.LORA).is_file():
        say(adapters.load_lora(pipe, path))
        return None
    raise TrainingError(f"{path} holds no unet/, {FOLDERS[0]}/ or {adapters.LORA}")


def say(notes: Sequence[str]) -> None:
    """What a user should know of how weights were read, on stderr."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


@torch.no_grad()
def generate(
    pipe: Any,
    prompts: Sequence[str],
    jobs: Sequence[Job],
    *,
    steps: int,
    guidance: float,
    batch: int,
    label: str,
    guide: ValueGuide | None = None,
) -> list[Image.Image]:
    """One picture a job, noise from its own seed. With a guide, embeddings are made by it, else by the pipeline.

    Raises TrainingError for a picture that is not made of finite numbers, which a pipeline would hand over as black;
    `label` begins with the name of the arm.
    """
    pictures: list[Image.Image] = []
    with Progress(f"images, {label}", len(jobs), "images") as progress:
        for start in range(0, len(jobs), batch):
            part = jobs[start : start + batch]
            texts = [prompts[j.prompt] for j in part]
            words = guide(texts, [j.principles for j in part]) if guide else {"prompt": texts}
            made = pipe(
                **words,
                generator=[torch.Generator("cpu").manual_seed(j.seed) for j in part],
                num_inference_steps=steps,
                guidance_scale=guidance,
                output_type="np",  # the last form in which NaN can be told from black
            ).images
            _check_finite(made, [(prompts[j.prompt], j.seed) for j in part], label)
            pictures += pipe.image_processor.numpy_to_pil(made)
            progress.advance(len(part))
    return pictures


def _check_finite(made: np.ndarray, drawn: Sequence[tuple[str, int]], label: str) -> None:
    """Raise TrainingError for the first of (N, h, w, 3) pictures, of a prompt and seed each, that is not finite."""
    finite = np.isfinite(made).all(axis=(1, 2, 3))
    if not finite.all():
        prompt, seed = drawn[int(np.argmin(finite))]
        raise TrainingError(
            f"{label}: the picture of {prompt!r}, seed {seed}, is not made of finite numbers "
            f"({(~finite).sum()} of {len(made)} in its batch): weights of the model or of what was trained are not, "
            "or overflow; train again with a lower --lr or --precision fp32, or download the model again"
        )


def grid(
    arms: Sequence[Sequence[Image.Image]],
    captions: Sequence[str],
    titles: Sequence[str] = (),
    rows: int = GRID_ROWS,
) -> Image.Image:
    """One column an arm, titled; one row a distinct caption, the first `rows` of them, each with its first image."""
    first = list({caption: i for i, caption in reversed(list(enumerate(captions)))}.values())[::-1][:rows]
    side = max(128, arms[0][0].width)
    size = max(10, side // 32)
    font, line = ImageFont.load_default(size), size + 4
    wrapped = [textwrap.wrap(captions[i], len(arms) * side * 2 // size) for i in first]  # letters are size / 2 wide
    height, top = side + line * max(map(len, wrapped)), line * bool(titles)
    sheet = Image.new("RGB", (len(arms) * side, top + len(first) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((column * side + 2, 0), title, "black", font)
    for row, (index, lines) in enumerate(zip(first, wrapped, strict=True)):
        y = top + row * height
        for column, images in enumerate(arms):
            sheet.paste(images[index].resize((side, side), Image.Resampling.NEAREST), (column * side, y))
        for number, text in enumerate(lines):
            draw.text((2, y + side + number * line), text, "black", font)
    return sheet
