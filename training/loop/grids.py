"""Pictures of what a run has learnt so far: base model against the current weights, same prompts and seeds.

Nothing here touches what is trained or any random state but its own: a run with grids ends with the weights of one
without.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from datagen.images.decode import decode
from training import data
from training.inference.sampling import Job, generate, grid
from training.inference.value_guide import ValueGuide
from training.loop.disk import by_main_process, writing
from training.loop.distributed import Team
from training.models.diffusion import StableDiffusion, pipeline
from training.models.half import DTYPES
from training.settings.training import Settings
from training.trainables import Trainable

PROMPTS = 4
SAMPLER_STEPS = 20
GUIDANCE = 5.0


class Grids:
    """Writes `grids/step-N.png` into the folder of a run, and each of its pictures as `grids/step-N/PROMPT-SEED.png`.

    The prompts are those of --grid-prompts, else the first of the data; prompts and seeds are the same at every step.
    The base model's pictures, `grids/base/`, are made when the run begins.
    """

    def __init__(
        self,
        out: Path,
        samples: data.Pairs | data.Lists,
        model: StableDiffusion,
        trainable: Trainable,
        settings: Settings,
        team: Team,
    ) -> None:
        self.out, self.folder = out, out / "grids"
        self.model, self.trainable, self.team = model, trainable, team
        self.frozen = DTYPES.get(settings.run.frozen_precision)  # None: all is in float32
        self.steered = settings.run.part == "value-encoder"
        job = settings.job
        if job.grid_prompts:
            self.prompts = list(dict.fromkeys(job.grid_prompts))
            principles = [tuple(job.grid_principle)] * len(self.prompts)
        else:
            first = {prompt: i for i, prompt in reversed(list(enumerate(samples.prompts)))}
            rows = sorted(first.values())[:PROMPTS]
            self.prompts = [samples.prompts[row] for row in rows]
            own = (
                samples.principles if self.steered and isinstance(samples, data.Pairs) else [""] * len(samples.prompts)
            )
            principles = [(own[row],) if own[row] else () for row in rows]
        self.jobs = [
            Job(prompt, prompt + seed * len(self.prompts), principles[prompt])
            for seed in range(job.grid_seeds)
            for prompt in range(len(self.prompts))
        ]

    def base(self) -> None:
        """Make the base model's pictures, before the first step: full fine-tuning leaves no base to ask later."""
        self._write("base", lambda: self._pictures(None), lambda pictures: None)

    def write(self, step: int) -> None:
        """Write the grid of the weights after `step` steps."""
        self._write(f"step-{step:08d}", self._current, lambda pictures: self._save_sheet(step, pictures))

    def _write(
        self, name: str, draw: Callable[[], list[Image.Image]], more: Callable[[list[Image.Image]], None]
    ) -> None:
        """Draw pictures and save them; with FSDP all processes draw, for they have to call the U-Net together."""
        drawn = draw() if self.team.fsdp_plugin is not None else None

        def save() -> None:
            pictures = draw() if drawn is None else drawn
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            for path, picture in zip(self._files(name), pictures, strict=True):
                picture.save(path)
            more(pictures)

        by_main_process(self.team, self.out, save)

    def _files(self, name: str) -> list[Path]:
        return [self.folder / name / f"{job.prompt}-{i // len(self.prompts)}.png" for i, job in enumerate(self.jobs)]

    def _save_sheet(self, step: int, pictures: list[Image.Image]) -> None:
        """The current pictures, each seed's beside the base model's where these are there."""
        files, count = self._files("base"), len(self.prompts)
        known = all(file.is_file() for file in files)
        arms = []
        for first in range(0, len(pictures), count):
            arms += [[decode(file) for file in files[first : first + count]]] * known
            arms.append(pictures[first : first + count])
        grid(arms, self.prompts, rows=count).save(self.folder / f"step-{step:08d}.png")

    def _current(self) -> list[Image.Image]:
        """The pictures of the weights as they stand."""
        with tempfile.TemporaryDirectory() as folder, writing(Path(folder)):
            if self.steered:
                self.trainable.save(Path(folder))
            return self._pictures(Path(folder) if self.steered else None)

    def _pictures(self, encoder: Path | None) -> list[Image.Image]:
        """One picture a prompt and seed from the U-Net, with the value encoder that was saved to a folder."""
        pipe, kind = pipeline(self.model), self.frozen
        guide = ValueGuide(pipe, encoder) if encoder else None
        try:
            with torch.autocast(self.team.device.type, kind, enabled=kind is not None):
                return generate(
                    pipe, self.prompts, self.jobs,
                    steps=SAMPLER_STEPS, guidance=GUIDANCE, batch=PROMPTS, label="grid", guide=guide,
                )  # fmt: skip
        finally:
            if guide:
                guide.close()
