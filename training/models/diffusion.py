"""Stable Diffusion as the trainer sees it: load, encode, predict; one signature for SD 1.5 and SDXL.

Nothing here decides what is trained. Randomness is passed in; weights come frozen and in evaluation mode.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datagen.weights import held, hub, pipelines
from datagen.weights.value_pipeline import read_states, tokenize
from datagen.weights.value_pipeline import to_device as to_device  # re-exported for all who move tensors
from training.errors import TrainingError
from training.models import noise


@dataclasses.dataclass(frozen=True)
class Context:
    """What the U-Net is conditioned on: hidden (B, L, D); for SDXL also pooled (B, P) and time_ids (B, 6).

    `mask` (B, L) is False where a row has no token to attend to, None where all have.
    """

    hidden: Tensor
    pooled: Tensor | None = None
    time_ids: Tensor | None = None
    mask: Tensor | None = None

    def pick(self, rows: Tensor) -> Context:
        """The given rows, in that order."""
        return Context(*(None if t is None else t[rows] for t in self._tensors()))  # type: ignore[arg-type]

    def added(self, rows: Tensor | None) -> dict[str, Tensor] | None:
        """SDXL's extra conditions under the names its U-Net reads, of the given rows or of all; None for SD 1.5."""
        if self.pooled is None or self.time_ids is None:
            return None
        both = {"text_embeds": self.pooled, "time_ids": self.time_ids}
        return both if rows is None else {name: tensor[rows] for name, tensor in both.items()}

    def without_text(self, rows: Tensor) -> Context:
        """Zeros for the texts of the rows that `rows` (B,) marks; SDXL's sizes stay."""
        hidden = self.hidden.masked_fill(rows[:, None, None], 0)
        pooled = None if self.pooled is None else self.pooled.masked_fill(rows[:, None], 0)
        return dataclasses.replace(self, hidden=hidden, pooled=pooled)

    def _tensors(self) -> tuple[Tensor | None, ...]:
        return self.hidden, self.pooled, self.time_ids, self.mask


@dataclasses.dataclass(frozen=True)
class Latents:
    """How a VAE's latents become what the U-Net denoises, and back, as the model's own pipeline has it.

    `mean` and `deviation` (1, C, 1, 1) are of SDXL's VAEs that define them, None for all others.
    """

    factor: float
    mean: Tensor | None = None
    deviation: Tensor | None = None

    def scaled(self, latents: Tensor) -> Tensor:
        """The VAE's latents (N, C, h, w) → the U-Net's."""
        if self.mean is None or self.deviation is None:
            return latents * self.factor
        return (latents - self.mean.to(latents)) * (self.factor / self.deviation.to(latents))

    def unscaled(self, latents: Tensor) -> Tensor:
        """The U-Net's latents (N, C, h, w) → the VAE's."""
        if self.mean is None or self.deviation is None:
            return latents / self.factor
        return latents * self.deviation.to(latents) / self.factor + self.mean.to(latents)


@dataclasses.dataclass
class StableDiffusion:
    """The frozen parts of a pipeline folder. Two text encoders mean SDXL.

    `zeros_for_empty`: the pipeline's unconditional branch is zeros, not the empty text. `notes`: what a user should
    know of how the weights were read, one line each.
    """

    source: str
    tokenizers: list[Any]
    text_encoders: list[Any]
    vae: Any
    unet: Any
    noise_scheduler: Any
    zeros_for_empty: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_xl(self) -> bool:
        return len(self.text_encoders) == 2

    @property
    def resolution(self) -> int:
        """Side of the images the U-Net was made for, in pixels. Raises TrainingError where it has two."""
        factor: int = 2 ** (len(self.vae.config.block_out_channels) - 1)
        sides = self.unet.config.sample_size
        sides = {*sides} if isinstance(sides, list | tuple) else {sides}
        if len(sides) != 1 or None in sides:
            made_for = " × ".join(str(side * factor) for side in sorted(sides - {None})) or "unknown sizes"
            raise TrainingError(f"the U-Net in {self.source} is made for {made_for} pixels: name a --resolution")
        return int(sides.pop()) * factor

    @property
    def latents(self) -> Latents:
        """How the VAE's latents become the U-Net's."""
        settings = self.vae.config
        pair = [settings.get(name) for name in ("latents_mean", "latents_std")]
        if pair[0] is None:
            return Latents(float(settings.scaling_factor))
        mean, deviation = (torch.tensor(values).view(1, -1, 1, 1) for values in pair)
        return Latents(float(settings.scaling_factor), mean, deviation)


def find(source: str, revision: str | None = None) -> Path:
    """The folder of a model: what was given, or the hub id's snapshot. Raises ModelError, one line."""
    path = Path(source).expanduser()
    return path if path.exists() else hub.folder(source, revision or "")


def load(folder: Path | str, settle: Callable[[str, Any, held.Mapped], None] | None = None) -> StableDiffusion:
    """Load a diffusers folder or a model in one file, on the CPU in float32. Raises ModelError or TrainingError.

    `settle` is what becomes of a large network in half precision, as `pipelines.load_networks` has it.
    """
    found = pipelines.read(Path(folder))
    if found.configs["unet"].get("time_cond_proj_dim"):
        raise TrainingError(
            f"the U-Net in {folder} reads the guidance as an embedding, as latent consistency models do: give a plain "
            "Stable Diffusion 1.5, 2 or XL"
        )
    place = found.folder if found.single else found.folder / "scheduler"
    scheduler = noise.scheduler(pipelines.scheduler(found), place)  # first, since the networks take a while
    tokenizers = pipelines.tokenizers(found)
    networks, notes = pipelines.load_networks(found, settle=settle)
    for network in networks.values():
        network.requires_grad_(False)
    return StableDiffusion(
        source=str(folder),
        tokenizers=list(tokenizers.values()),
        text_encoders=[network for name, network in networks.items() if name.startswith("text_encoder")],
        vae=networks["vae"],
        unet=networks["unet"],
        noise_scheduler=scheduler,
        zeros_for_empty=found.zeros_for_empty,
        notes=notes,
    )


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


def pick_device(name: str) -> torch.device:
    """`auto` takes CUDA where there is one. Raises TrainingError for a device that this machine lacks."""
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"no device {name!r} on this machine: use --device auto") from error
    return torch.device(wanted)


def encode_text(model: StableDiffusion, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """Hidden states (N, 77, D) and, for SDXL, the pooled projection (N, P), as the stock pipelines compute them."""
    hidden, pooled = [], None
    for tokenizer, encoder in zip(model.tokenizers, model.text_encoders, strict=True):
        states, pooled = read_states(encoder, tokenize(tokenizer, texts).to(model.unet.device), xl=model.is_xl)
        hidden.append(states)
    return torch.cat(hidden, dim=-1), pooled


@dataclasses.dataclass(frozen=True)
class Batch:
    """B noised pairs, chosen first: latents, target (2B, C, h, w), steps of the noise `timesteps` (2B,), B texts.

    `context` has B rows, or 2B where each image has a caption of its own. `uncond` (B,) marks pairs that hold the
    unconditional branch: no caption, and the order of the images swapped. `other_principles` are for LiVO's penalty on
    the rejected image, () for none: principles other than the pair's own, or its own and others.
    `probability` that a label is right and `weight` of a pair are (B,), None where the data has none.
    """

    latents: Tensor
    target: Tensor
    timesteps: Tensor
    context: Context
    uncond: Tensor
    prompts: list[str]
    principles: list[str]
    other_principles: list[tuple[str, ...]]
    probability: Tensor | None = None
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def text_rows(self) -> Tensor:
        """Which row of the context each of the 2B images has, (2B,)."""
        rows = torch.arange(len(self.context.hidden), device=self.latents.device)
        return rows if len(rows) == len(self.latents) else rows.repeat(2)

    def image_context(self) -> Context:
        """The context of each of the 2B images."""
        return self.context.pick(self.text_rows())

    def part(self, rows: slice) -> Batch:
        """The pairs in `rows`, both images of each."""
        both = torch.arange(2 * len(self), device=self.latents.device).view(2, -1)[:, rows].flatten()
        columns = {name: getattr(self, name) for name in ("probability", "weight")}
        return Batch(
            latents=self.latents[both],
            target=self.target[both],
            timesteps=self.timesteps[both],
            context=self.image_context().pick(both),
            uncond=self.uncond[rows],
            prompts=self.prompts[rows],
            principles=self.principles[rows],
            other_principles=self.other_principles[rows],
            **{name: None if column is None else column[rows] for name, column in columns.items()},
        )


def predict(unet: Any, latents: Tensor, timesteps: Tensor, context: Context, rows: Tensor | None = None) -> Tensor:
    """The U-Net's prediction for N noised latents, float32; `timesteps` as `unet_time` gives them.

    `rows` (N,) says which row of the context each of them reads, for a U-Net whose attention shares texts; without
    it there is a row for each.
    """
    output: Tensor = unet(
        latents,
        timesteps,
        encoder_hidden_states=context.hidden,
        encoder_attention_mask=context.mask,
        added_cond_kwargs=context.added(rows),
        cross_attention_kwargs=None if rows is None else {"text_rows": rows},
        return_dict=False,
    )[0]
    return output.float()


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over channels and pixels of the squared difference: (N, C, h, w) twice → (N,).

    Summed up in float64, where the device has it: losses multiply differences of these by thousands.
    """
    wide = torch.float32 if prediction.device.type == "mps" else torch.float64
    return (prediction.float() - target.float()).square().mean(dim=(1, 2, 3), dtype=wide)
