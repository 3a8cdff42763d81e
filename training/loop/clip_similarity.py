"""What clip_align is fed: how well CLIP finds two descriptions in the clean image that a prediction amounts to.

A hook catches the prediction, so trainables need not know of it; gradients flow back through CLIP, the VAE's decoder
and the U-Net to what is trained.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data import Pairs
from training.errors import TrainingError
from training.loop.batches import TrainingBatch
from training.losses import Similarities
from training.models import clip
from training.models.diffusion import StableDiffusion
from training.models.embedded import EMBEDDED, is_embedded
from training.models.noise import clean_scale
from training.settings.training import Settings


class Similarity:
    """Similarities of the predicted clean chosen images of a batch to the descriptions of both images of each pair."""

    def __init__(self, model: StableDiffusion, pairs: Pairs, settings: Settings) -> None:
        from open_clip import get_model_preprocess_cfg

        self.model = model
        loaded = clip.load(clip_name(settings), model.unet.device)
        self.clip, cfg = loaded.model, get_model_preprocess_cfg(loaded.model)
        self.side = cfg["size"] if isinstance(cfg["size"], int) else cfg["size"][0]
        self.mean, self.std = (
            torch.tensor(cfg[name], device=model.unet.device).view(3, 1, 1) for name in ("mean", "std")
        )
        unique = list(dict.fromkeys([*(pairs.chosen_captions or ()), *(pairs.rejected_captions or ())]))
        self.rows = {text: i for i, text in enumerate(unique)}
        with torch.no_grad():
            parts = [
                self.clip.encode_text(loaded.tokenizer(unique[i : i + 32]).to(self.mean.device))
                for i in range(0, len(unique), 32)
            ]
        self.texts = F.normalize(torch.cat(parts), dim=-1)
        self.caught: Tensor | None = None
        model.unet.register_forward_hook(self._catch)

    def _catch(self, unet: Any, inputs: Any, output: Any) -> None:
        """Keep what the policy predicted; the reference is asked without gradients."""
        if torch.is_grad_enabled():
            self.caught = output[0]

    def __call__(self, batch: TrainingBatch) -> Similarities:
        """(B,) each, for the batch of the step just made."""
        if self.caught is None:
            raise ValueError("no prediction was made since the last batch")
        if batch.descriptions is None or batch.clean is None:
            raise ValueError("no descriptions of the images")
        pairs, size = batch.pairs, len(batch.pairs)
        missed, self.caught = self.caught[:size].float() - pairs.target[:size], None
        # In every parameterisation the predicted clean latents lie from the true ones as the prediction from its
        # target, times a factor and the other way round.
        factor = clean_scale(self.model.noise_scheduler, pairs.timesteps[:size]).sqrt().view(-1, 1, 1, 1)
        clean = batch.clean[:size] - factor * missed
        decoded = self.model.vae.decode(self.model.latents.unscaled(clean)).sample
        pixels = F.interpolate(decoded.float(), (self.side, self.side), mode="bicubic", antialias=True)
        seen = (((pixels + 1) / 2).clamp(0, 1) - self.mean) / self.std
        pictures = F.normalize(self.clip.encode_image(seen), dim=-1)
        found = (self.texts[[self.rows[text] for text in side]] for side in batch.descriptions)
        return Similarities(*((pictures * texts).sum(-1) for texts in found))


def clip_name(settings: Settings) -> str:
    """The model of --clip; for the embedded model, the embedded one by default, and for it alone.

    Raises TrainingError.
    """
    embedded = is_embedded(settings.run.model)
    name = settings.run.clip or (EMBEDDED if embedded else "")
    if not name or (name == EMBEDDED and not embedded):
        raise TrainingError(
            "clip_align needs --clip: an open_clip folder, ARCHITECTURE/PRETRAINED such as ViT-L-14/openai, "
            "or a hub id such as hf-hub:apple/DFN2B-CLIP-ViT-L-14"
        )
    return name
