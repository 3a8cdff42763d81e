"""Stable Diffusion as the trainer sees it: load, encode, add noise, predict; one signature for SD 1.5 and SDXL.

Nothing here decides what is trained. Randomness is passed in; weights come frozen and in evaluation mode.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.errors import TrainingError, one_line
from training.models.value_pipeline import read_states, tokenize
from training.models.value_pipeline import to_device as to_device  # re-exported for all who move tensors


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

    def _tensors(self) -> tuple[Tensor | None, ...]:
        return self.hidden, self.pooled, self.time_ids, self.mask


@dataclasses.dataclass
class StableDiffusion:
    """The frozen parts of a pipeline folder. Two text encoders mean SDXL."""

    source: str
    tokenizers: list[Any]
    text_encoders: list[Any]
    vae: Any
    unet: Any
    noise_scheduler: Any

    @property
    def is_xl(self) -> bool:
        return len(self.text_encoders) == 2

    @property
    def resolution(self) -> int:
        """Side of the images the U-Net was made for, in pixels."""
        factor: int = 2 ** (len(self.vae.config.block_out_channels) - 1)
        return int(self.unet.config.sample_size) * factor


def load(source: str, revision: str | None = None) -> StableDiffusion:
    """Load a diffusers folder or hub id. Raises TrainingError naming the part that is missing."""
    import diffusers
    import transformers

    quiet()
    names = _find_model_index(source, revision)
    parts: list[tuple[str, Any]] = [
        ("tokenizer", transformers.CLIPTokenizer),
        ("text_encoder", transformers.CLIPTextModel),
    ]
    if "XL" in names["_class_name"]:
        second = [
            ("tokenizer_2", transformers.CLIPTokenizer),
            ("text_encoder_2", transformers.CLIPTextModelWithProjection),
        ]
        parts += second
    parts += [("vae", diffusers.AutoencoderKL), ("unet", diffusers.UNet2DConditionModel)]
    loaded = {name: _part(source, revision, name, kind) for name, kind in parts}
    for part in loaded.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    return StableDiffusion(
        source=source,
        tokenizers=[loaded[n] for n in ("tokenizer", "tokenizer_2") if n in loaded],
        text_encoders=[loaded[n] for n in ("text_encoder", "text_encoder_2") if n in loaded],
        vae=loaded["vae"],
        unet=loaded["unet"],
        noise_scheduler=_part(source, revision, "scheduler", _scheduler_kind(source, revision)),
    )


def _scheduler_kind(source: str, revision: str | None) -> Any:
    """Whatever samples the model, it was trained by DDPM's noise or along straight paths (flow matching)."""
    import diffusers

    try:
        named = diffusers.DDPMScheduler.load_config(source, subfolder="scheduler", revision=revision)["_class_name"]
    except Exception:  # said better by loading the part itself
        named = ""
    return diffusers.FlowMatchEulerDiscreteScheduler if named.startswith("FlowMatch") else diffusers.DDPMScheduler


def pick_device(name: str) -> torch.device:
    """`auto` takes CUDA where there is one. Raises TrainingError for a device that this machine lacks."""
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"no device {name!r} on this machine: use --device auto") from error
    return torch.device(wanted)


def quiet() -> None:
    """Silence the libraries' own bars and advice; we say what a user must know."""
    import diffusers
    import transformers

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()


def _find_model_index(source: str, revision: str | None) -> dict[str, Any]:
    """The model_index.json of a folder or a hub id: the one place where the trainer looks for a model.

    Whether the model is whole shows as its parts are loaded.
    """
    path = Path(source) / "model_index.json"
    try:
        if not Path(source).is_dir():
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(source, "model_index.json", revision=revision))
        names: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
    except Exception as error:  # the hub client raises many kinds; all mean "not a model we can reach"
        raise TrainingError(
            f"no Stable Diffusion at {source!r} ({type(error).__name__}): give 'embedded', a diffusers folder "
            "with model_index.json, or a hub id this machine can download"
        ) from error
    if not str(names.get("_class_name", "")).startswith("StableDiffusion"):
        raise TrainingError(f"{source!r} is a {names.get('_class_name')}; Stable Diffusion 1.5 or XL is accepted")
    return names


def _part(source: str, revision: str | None, name: str, kind: Any) -> Any:
    """One component of the pipeline folder; model weights from safetensors only, in float32."""
    weights = {"use_safetensors": True} if name in ("vae", "unet") or "encoder" in name else {}
    if Path(source).is_dir() and not (Path(source) / name).is_dir():
        raise TrainingError(f"the model at {source!r} has no folder {name}")
    try:
        part = kind.from_pretrained(source, subfolder=name, revision=revision, **weights)
    except Exception as error:
        raise TrainingError(f"the model at {source!r} has no usable {name}: {one_line(error)}") from error
    return part.float() if isinstance(part, torch.nn.Module) else part


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


def add_noise(scheduler: Any, latents: Tensor, noise: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """Noised latents and the prediction target for clean latents (N, C, h, w) at steps 0 ≤ t < T of the noise (N,).

    DDPM: x_t = sqrt(abar) x + sqrt(1 - abar) eps; the target is eps, or v = sqrt(abar) eps - sqrt(1 - abar) x.
    Flow matching (Esser et al. 2024, eqs. 3 and 13): x_t = (1 - sigma) x + sigma eps; the target is eps - x.
    """
    if _is_flow(scheduler):
        sigma = _sigma(scheduler, timesteps).view(-1, 1, 1, 1)
        return (1 - sigma) * latents + sigma * noise, noise - latents
    noised: Tensor = scheduler.add_noise(latents, noise, timesteps)
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noised, noise
    if kind == "v_prediction":
        return noised, scheduler.get_velocity(latents, noise, timesteps)
    raise TrainingError(f"the model predicts {kind!r}; epsilon, v_prediction and flow matching are accepted")


def unet_time(scheduler: Any, timesteps: Tensor) -> Tensor:
    """What the U-Net reads as timesteps (N,): the steps themselves, or T·sigma in flow matching."""
    if not _is_flow(scheduler):
        return timesteps
    count: int = scheduler.config.num_train_timesteps
    return _sigma(scheduler, timesteps) * count


def snr_weight(scheduler: Any, timesteps: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) / SNR at steps (N,), for v-prediction over SNR + 1: Hang et al. 2023 (arXiv 2303.09556), eq. 9.

    Raises TrainingError for flow matching, whose noise has other proportions.
    """
    if _is_flow(scheduler):
        raise TrainingError("--min-snr is for models that predict noise or v: this one was trained by flow matching")
    kept: Tensor = scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
    ratio = (kept / (1 - kept)).double() if timesteps.device.type != "mps" else kept / (1 - kept)
    below = ratio + 1 if scheduler.config.prediction_type == "v_prediction" else ratio
    return ratio.clamp(max=gamma) / below.clamp(min=1e-12)


def clean_scale(scheduler: Any, timesteps: Tensor) -> Tensor:
    """Squared error of the predicted clean latents for one unit of squared error of the prediction, at steps (N,).

    (1 - abar)/abar for epsilon, 1 - abar for v, sigma² in flow matching: how x is solved for in `add_noise`.
    """
    if _is_flow(scheduler):
        return _sigma(scheduler, timesteps).square()
    kept: Tensor = scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
    return 1 - kept if scheduler.config.prediction_type == "v_prediction" else (1 - kept) / kept


def _is_flow(scheduler: Any) -> bool:
    return not hasattr(scheduler, "alphas_cumprod")


def _sigma(scheduler: Any, timesteps: Tensor) -> Tensor:
    """Share of noise at the steps (N,); the scheduler holds its T values from the most noise to the least."""
    sigmas: Tensor = scheduler.sigmas.flip(0).to(timesteps.device)[timesteps]
    return sigmas


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
