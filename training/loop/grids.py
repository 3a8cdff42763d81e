"""Pictures of what a run has learnt so far: base model against the current weights, same prompts and seeds.

Nothing here touches what is trained or any random state but its own: a run with grids ends with the weights of one
without.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from datagen.images.decode import decode
from training import data
from training.inference.sampling import Job, generate, grid
from training.inference.value_guide import ValueGuide
from training.loop.disk import by_main_process, writing
from training.loop.distributed import Team
from training.models.diffusion import StableDiffusion
from training.settings.training import Settings
from training.trainables import Trainable

PROMPTS = 4
SAMPLER_STEPS = 20
GUIDANCE = 5.0


class Grids:
    """Writes `grids/step-N.png` into the folder of a run; the base model's pictures are made when it begins."""

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
        self.steered = settings.run.part == "value-encoder"
        first = {prompt: i for i, prompt in reversed(list(enumerate(samples.prompts)))}
        rows = sorted(first.values())[:PROMPTS]
        self.prompts = [samples.prompts[row] for row in rows]
        self.principles = [
            samples.principles[row] if self.steered and isinstance(samples, data.Pairs) else "" for row in rows
        ]

    @property
    def takes_part(self) -> bool:
        """The main process samples; with FSDP all of them have to call the U-Net together."""
        return self.team.is_main_process or self.team.fsdp_plugin is not None

    def base(self) -> None:
        """Make the base model's pictures, before the first step: full fine-tuning leaves no base to ask later."""
        pictures = self._pictures(None) if self.takes_part else []
        by_main_process(self.team, self.out, lambda: self._save_base(pictures))

    def _save_base(self, pictures: list[Image.Image]) -> None:
        self.folder.mkdir(exist_ok=True)
        for i, picture in enumerate(pictures):
            picture.save(self.folder / f"base-{i}.png")

    def write(self, step: int) -> None:
        """Write the grid of the weights after `step` steps."""
        with tempfile.TemporaryDirectory() as folder, writing(Path(folder)):
            if self.steered and self.takes_part:
                self.trainable.save(Path(folder))
            pictures = self._pictures(Path(folder) if self.steered else None) if self.takes_part else []
        by_main_process(self.team, self.out, lambda: self._save(step, pictures))

    def _save(self, step: int, pictures: list[Image.Image]) -> None:
        self.folder.mkdir(exist_ok=True)
        files = [self.folder / f"base-{i}.png" for i in range(len(self.prompts))]
        base = [[decode(file) for file in files]] if all(file.is_file() for file in files) else []
        grid([*base, pictures], self.prompts).save(self.folder / f"step-{step:08d}.png")

    def _pictures(self, encoder: Path | None) -> list[Image.Image]:
        """One picture a prompt from the U-Net as it stands, with the value encoder that was saved to a folder."""
        pipe = pipeline(self.model)
        guide = ValueGuide(pipe, encoder) if encoder else None
        jobs = [Job(i, i, (p,) if guide and p else ()) for i, p in enumerate(self.principles)]
        try:
            return generate(
                pipe,
                self.prompts,
                jobs,
                steps=SAMPLER_STEPS,
                guidance=GUIDANCE,
                batch=PROMPTS,
                label="grid",
                guide=guide,
            )
        finally:
            if guide:
                guide.close()


def pipeline(model: StableDiffusion) -> Any:
    """A stock pipeline around the parts of a loaded model, which it shares."""
    import diffusers

    names = ["text_encoder", "text_encoder_2"][: len(model.text_encoders)]
    parts = dict(zip(names, model.text_encoders, strict=True))
    parts |= dict(zip([n.replace("text_encoder", "tokenizer") for n in names], model.tokenizers, strict=True))
    kind: Any = diffusers.StableDiffusionXLPipeline if model.is_xl else diffusers.StableDiffusionPipeline
    if not model.is_xl:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    solver: Any = diffusers.DPMSolverMultistepScheduler
    scheduler = solver.from_config(model.noise_scheduler.config)
    pipe = kind(vae=model.vae, unet=model.unet, scheduler=scheduler, **parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe
