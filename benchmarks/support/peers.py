"""The peers' training steps in our words: MaPO's and LiVO's released scripts, and diffusers' Diffusion-DPO with LoRA.

Each keeps its original's order of operations: every step decodes its images, runs the VAE and the text encoders, and
checkpoints the U-Net's activations. Left out, in the peers' favour: loading through `datasets` or from files,
accelerate's wrappers, 8-bit Adam, trackers. Noise and timesteps come from outside, so that ours can be given the same.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

CLIP_NORM = 1.0
LORA = ("to_k", "to_q", "to_v", "to_out.0")


@dataclasses.dataclass(frozen=True)
class Rows:
    """B pairs as they lie in a file: texts and encoded images."""

    prompts: list[str]
    principles: list[str]
    chosen: list[bytes]
    rejected: list[bytes]

    def pick(self, rows: Sequence[int]) -> Rows:
        return Rows(*([column[i] for i in rows] for column in vars(self).values()))

    def __len__(self) -> int:
        return len(self.prompts)


@dataclasses.dataclass(frozen=True)
class Draws:
    """A step's randomness: for the posteriors (2B, 4, h, w), and per pair the noise and the timestep."""

    posterior: Tensor
    noise: Tensor
    timesteps: Tensor

    @classmethod
    def fresh(cls, pairs: int, side: int, generator: torch.Generator) -> Draws:
        posterior = torch.randn(2 * pairs, 4, side, side, generator=generator)
        noise = torch.randn(pairs, 4, side, side, generator=generator)
        return cls(posterior, noise, torch.randint(0, 1000, (pairs,), generator=generator))


class Parts:
    """The modules of a pipeline folder, frozen, as every one of the scripts loads them."""

    def __init__(self, folder: Path) -> None:
        from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

        self.tokenizers = [CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")]
        self.encoders: list[Any] = [CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")]
        if (folder / "text_encoder_2").is_dir():
            self.tokenizers.append(CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer_2"))
            second = CLIPTextModelWithProjection.from_pretrained(folder, subfolder="text_encoder_2")
            self.encoders.append(second)
        self.vae: Any = AutoencoderKL.from_pretrained(folder, subfolder="vae")
        self.unet: Any = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
        self.scheduler: Any = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
        for part in (self.vae, self.unet, *self.encoders):
            part.requires_grad_(False)

    def predict(self, latents: Tensor, timesteps: Tensor, hidden: Tensor, added: Any = None) -> Tensor:
        noised, context = (part.to(self.unet.dtype) for part in (latents, hidden))
        predicted: Tensor = self.unet(noised, timesteps, context, added_cond_kwargs=added).sample
        return predicted

    def tokens(self, texts: Sequence[str], which: int = 0) -> Tensor:
        tokenizer = self.tokenizers[which]
        length = tokenizer.model_max_length
        encoded = tokenizer(list(texts), truncation=True, padding="max_length", max_length=length, return_tensors="pt")
        ids: Tensor = encoded.input_ids
        return ids

    def latents(self, pixels: Tensor, posterior: Tensor, chunk: int) -> Tensor:
        """Scaled samples of the posteriors, `chunk` images a call."""
        samples = []
        for first in range(0, len(pixels), chunk):
            found = self.vae.encode(pixels[first : first + chunk]).latent_dist
            samples.append(found.mean + found.std * posterior[first : first + chunk])
        factor: float = self.vae.config.scaling_factor
        return torch.cat(samples) * factor

    def context_xl(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """SDXL's two encoders: their penultimate states side by side, the second one's pooled output."""
        hidden, pooled = [], torch.empty(0)
        with torch.no_grad():
            for which, encoder in enumerate(self.encoders):
                output = encoder(self.tokens(prompts, which), output_hidden_states=True)
                hidden.append(output.hidden_states[-2])
                pooled = output[0]
        return torch.cat(hidden, dim=-1), pooled


class Peer(Protocol):
    """One peer's training: what it trains, how it reads images, and its loss on what it read."""

    def parameters(self) -> list[nn.Parameter]: ...

    def read(self, rows: Rows) -> tuple[Tensor, list[tuple[int, ...]]]: ...

    def loss(self, pixels: Tensor, time_ids: list[tuple[int, ...]], rows: Rows, draws: Draws) -> Tensor: ...


def trainer(peer: Peer, rows: Rows, side: int, *, batch: int, lr: float) -> Callable[[], float]:
    """A function that does one whole step on the next batch and returns its loss."""
    optimizer = torch.optim.AdamW(peer.parameters(), lr=lr, weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)

    def step() -> float:
        picked = rows.pick(torch.randperm(len(rows), generator=generator)[:batch].tolist())
        pixels, time_ids = peer.read(picked)
        loss = peer.loss(pixels, time_ids, picked, Draws.fresh(batch, side, generator))
        loss.backward()
        nn.utils.clip_grad_norm_(peer.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def _open(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded), formats=("PNG",)).convert("RGB")


def read_alone(rows: Rows, resolution: int) -> tuple[Tensor, list[tuple[int, ...]]]:
    """Each image on its own through resize, crop and normalisation: LiVO's script and diffusers' for SD 1.5."""
    transform = transforms.Compose(
        [
            transforms.Resize(resolution, interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.CenterCrop(resolution),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )
    return torch.stack([transform(_open(encoded)) for encoded in (*rows.chosen, *rows.rejected)]), []


def read_stacked(rows: Rows, resolution: int) -> tuple[Tensor, list[tuple[int, ...]]]:
    """A pair as one six-channel image at full size, then resized: MaPO's script and diffusers' for SDXL.

    Both decode the first image a second time, for its size alone.
    """
    resize = transforms.Resize(resolution, interpolation=transforms.InterpolationMode.BILINEAR)
    normalize = transforms.Normalize([0.5], [0.5])
    sizes = [(image.height, image.width) for image in map(_open, rows.chosen)]
    to_tensor = transforms.ToTensor()
    chosen = [to_tensor(_open(encoded)) for encoded in rows.chosen]
    second = [_open(encoded).resize(size[::-1]) for encoded, size in zip(rows.rejected, sizes, strict=True)]
    rejected = [to_tensor(image) for image in second]
    pixels: list[Tensor] = []
    time_ids: list[tuple[int, ...]] = []
    for size, *images in zip(sizes, chosen, rejected, strict=True):
        stacked = resize(torch.cat(images))
        top, left = (max(0, round((side - resolution) / 2)) for side in stacked.shape[1:])
        pixels.append(normalize(stacked[:, top : top + resolution, left : left + resolution]))
        time_ids.append((*size, top, left, resolution, resolution))
    return torch.cat(torch.stack(pixels).chunk(2, dim=1)), time_ids


def errors(prediction: Tensor, target: Tensor) -> Tensor:
    """Summed up in float64: β is 5000, and what is to be compared is the formula, not the rounding of a mean."""
    return F.mse_loss(prediction.float(), target.float(), reduction="none").mean(dim=(1, 2, 3), dtype=torch.float64)


class Mapo:
    """MaPO (train.py): the whole SDXL U-Net, chosen and rejected in one call, no reference."""

    def __init__(self, folder: Path, resolution: int) -> None:
        self.parts, self.resolution = Parts(folder), resolution
        self.parts.unet.requires_grad_(True)
        self.parts.unet.train()
        self.parts.unet.enable_gradient_checkpointing()

    def parameters(self) -> list[nn.Parameter]:
        return list(self.parts.unet.parameters())

    def read(self, rows: Rows) -> tuple[Tensor, list[tuple[int, ...]]]:
        return read_stacked(rows, self.resolution)

    def loss(self, pixels: Tensor, time_ids: list[tuple[int, ...]], rows: Rows, draws: Draws) -> Tensor:
        """arXiv 2406.06424 as released: κ 0.5, T 1000, β 0.1."""
        parts = self.parts
        latents = parts.latents(pixels, draws.posterior, 8)
        noise, timesteps = draws.noise.repeat(2, 1, 1, 1), draws.timesteps.repeat(2)
        noised = parts.scheduler.add_noise(latents, noise, timesteps)
        ids = torch.tensor(time_ids, dtype=torch.float32).repeat(2, 1)
        hidden, pooled = parts.context_xl(rows.prompts)
        added = {"time_ids": ids, "text_embeds": pooled.repeat(2, 1)}
        predicted = parts.predict(noised, timesteps, hidden.repeat(2, 1, 1), added)
        won, lost = (0.5 * errors(predicted, noise)).chunk(2)
        odds = won / (won.exp() - 1) - lost / (lost.exp() - 1)
        return 2 * won.mean() - 0.1 * F.logsigmoid(1000 * odds).mean()


class Livo:
    """LiVO (value_encoder/train.py): a value encoder beside SD 1.5; four separate calls of the U-Net."""

    def __init__(self, folder: Path, resolution: int) -> None:
        from transformers import CLIPTextModel

        self.parts, self.resolution = Parts(folder), resolution
        self.encoder: Any = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder").train()
        self.parts.unet.train()
        self.parts.unet.enable_gradient_checkpointing()
        self.encoder.gradient_checkpointing_enable({"use_reentrant": False})

    def parameters(self) -> list[nn.Parameter]:
        return list(self.encoder.parameters())

    def read(self, rows: Rows) -> tuple[Tensor, list[tuple[int, ...]]]:
        return read_alone(rows, self.resolution)

    def loss(self, pixels: Tensor, time_ids: list[tuple[int, ...]], rows: Rows, draws: Draws) -> Tensor:
        """arXiv 2410.12700 with the settings of the published run: β 1000, α 500, γ 1 and 0.5."""
        parts, noise, timesteps = self.parts, draws.noise, draws.timesteps
        size = len(rows)
        latents = [parts.latents(*half, size) for half in zip(pixels.chunk(2), draws.posterior.chunk(2), strict=True)]
        chosen, rejected = (parts.scheduler.add_noise(latent, noise, timesteps) for latent in latents)
        hidden = parts.encoders[0](parts.tokens(rows.prompts))[0]
        texts = [f"{v}, {p}" for v, p in zip(rows.principles, rows.prompts, strict=True)]
        value = self.encoder(parts.tokens(texts))[1]
        steered = torch.cat([value.unsqueeze(1), hidden.to(value)], dim=1)
        won = errors(parts.predict(chosen, timesteps, steered), noise)
        lost = errors(parts.predict(rejected, timesteps, steered), noise)
        ref_won = errors(parts.predict(chosen, timesteps, hidden), noise)
        ref_lost = errors(parts.predict(rejected, timesteps, hidden), noise)
        pull = torch.clamp(1.0 + 1000.0 * (won - ref_won), min=0)
        return (pull + torch.clamp(0.5 + 500.0 * (ref_lost - lost), min=0)).mean()


class DpoLora:
    """diffusers' train_diffusion_dpo.py and …_sdxl.py: LoRA on the attention, the reference with the adapters off."""

    def __init__(self, folder: Path, resolution: int, rank: int = 8) -> None:
        from peft import LoraConfig

        self.parts, self.resolution = Parts(folder), resolution
        self.parts.unet.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(LORA))
        )
        self.parts.unet.train()
        self.parts.unet.enable_gradient_checkpointing()

    @property
    def is_xl(self) -> bool:
        return len(self.parts.encoders) == 2

    def parameters(self) -> list[nn.Parameter]:
        return [p for p in self.parts.unet.parameters() if p.requires_grad]

    def read(self, rows: Rows) -> tuple[Tensor, list[tuple[int, ...]]]:
        return (read_stacked if self.is_xl else read_alone)(rows, self.resolution)

    def loss(self, pixels: Tensor, time_ids: list[tuple[int, ...]], rows: Rows, draws: Draws) -> Tensor:
        """arXiv 2311.12908; β of the SD 1.5 script is without the 1/2: its 2500 is the SDXL script's 5000."""
        parts = self.parts
        latents = parts.latents(pixels, draws.posterior, 8)
        noise, timesteps = draws.noise.repeat(2, 1, 1, 1), draws.timesteps.repeat(2)
        noised = parts.scheduler.add_noise(latents, noise, timesteps)
        added: dict[str, Tensor] | None = None
        if self.is_xl:
            hidden, pooled = parts.context_xl(rows.prompts)
            added = {
                "time_ids": torch.tensor(time_ids, dtype=torch.float32).repeat(2, 1),
                "text_embeds": pooled.repeat(2, 1),
            }
        else:
            with torch.no_grad():
                hidden = parts.encoders[0](parts.tokens(rows.prompts))[0]
        hidden = hidden.repeat(2, 1, 1)
        won, lost = errors(parts.predict(noised, timesteps, hidden, added), noise).chunk(2)
        parts.unet.disable_adapters()
        with torch.no_grad():
            predicted = parts.predict(noised, timesteps, hidden, added)
            ref_won, ref_lost = errors(predicted, noise).chunk(2)
        parts.unet.enable_adapters()
        return -F.logsigmoid(-0.5 * 5000.0 * ((won - lost) - (ref_won - ref_lost))).mean()
