"""Give a stock diffusers pipeline its values: prompts and principles in, the pipeline's own arguments out.

    pipe = DiffusionPipeline.from_pretrained(model)                # Stable Diffusion 1.5 or XL
    guide = ValueGuide(pipe, DIR)                                  # DIR: what `run.py --method livo` wrote
    images = pipe(**guide(prompts, principles)).images             # a principle may be None, or several

Tokens are made by the functions that training uses, so padding cannot differ. Whatever has no value (prompts whose
principle is None, the unconditional branch) is computed from the base model's own tensors, by the same operations in
the same shapes: those images are bit-identical to the base model's in the same batch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.errors import TrainingError
from training.trainables import value_encoder
from training.trainables.livo import Slots, attach, value_tokens

EMBEDS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")


def use_probability(base_share: float, token_share: float = 1.0) -> float:
    """How often to use the token of a `balance` principle so that two groups come out even.

    With the minority at `base_share` without the token and at `token_share` with it, the mixture is even at
    p = (0.5 - base_share) / (token_share - base_share), clipped to [0, 1]: (0.5 - q)/(1 - q) for 1.
    The released code fixes p = 0.5, which is right only for base_share 0.
    """
    if token_share <= base_share:
        return 0.0
    return min(1.0, max(0.0, (0.5 - base_share) / (token_share - base_share)))


def spread(probability: float, size: int, seed: int) -> list[bool]:
    """Which of `size` images use a token of this probability: as evenly as possible, from a random start."""
    start = random.Random(seed).random()
    return [int(start + (i + 1) * probability) > int(start + i * probability) for i in range(size)]


class ValueGuide:
    """Gives the prompts of a stock SD 1.5 or SDXL pipeline their values; any number of principles a prompt.

    The embeddings it makes are longer than the pipeline's by as many tokens as the prompt with the most principles
    has; empty places, and all those of the unconditional rows, are zero. Hooks on the U-Net take these tokens off
    again, so that it runs on the very tensors of the base model, and compute anew the cross-attention of those rows
    alone that have a token. `close()` takes the hooks off.
    """

    def __init__(self, pipe: Any, folder: str | Path) -> None:
        self.pipe = pipe
        names = ["", "_2"] if getattr(pipe, "text_encoder_2", None) is not None else [""]
        self.tokenizers = [getattr(pipe, f"tokenizer{name}") for name in names]
        self.encoders = value_encoder.load(Path(folder), [getattr(pipe, f"text_encoder{name}") for name in names])
        self._most = 0  # places in front of a prompt so far: longer prompts are not ours to touch
        self._steered: list[tuple[Tensor, Tensor]] = []  # of the running U-Net call: rows, and their whole context
        crossings = (m for name, m in pipe.unet.named_modules() if name.endswith(".attn2"))
        self._hooks = [
            pipe.unet.register_forward_pre_hook(self._take_tokens, with_kwargs=True),
            *(m.register_forward_hook(self._attend, with_kwargs=True) for m in crossings),
        ]

    @torch.no_grad()
    def __call__(
        self,
        prompts: Sequence[str],
        principles: Sequence[None | str | Sequence[str]],
        negative_prompts: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Arguments of the pipeline: `prompt_embeds` and `negative_prompt_embeds`, (N, K + 77, D); SDXL's pooled ones.

        A prompt's principles are None, one, or several in any order. Raises TrainingError if the lists differ in
        length.
        """
        negatives = None if negative_prompts is None else list(negative_prompts)
        if not len(prompts) == len(principles) == len(prompts if negatives is None else negatives):
            more = "" if negatives is None else f" and {len(negatives)} negative prompts"
            raise TrainingError(
                f"{len(prompts)} prompts but {len(principles)} principles{more}; give one (or None) a prompt"
            )
        embeds = self.pipe.encode_prompt(
            list(prompts),
            device=self.pipe._execution_device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=negatives,
        )
        made: dict[str, Tensor] = dict(zip(EMBEDS, embeds, strict=False))
        chosen = [sorted({names} if isinstance(names, str) else {*(names or ())}) for names in principles]
        if any(chosen):
            slots = self._slots(prompts, chosen)
            made["prompt_embeds"] = attach(slots, made["prompt_embeds"])
            made["negative_prompt_embeds"] = attach(torch.zeros_like(slots), made["negative_prompt_embeds"])
        return made

    def _slots(self, prompts: Sequence[str], chosen: Sequence[Sequence[str]]) -> Tensor:
        """The tokens of each prompt's principles (N, K, D), zeros where it has fewer than others."""
        wanted = [(name, prompt) for prompt, names in zip(prompts, chosen, strict=True) for name in names]
        tokens = value_tokens(self.encoders, self.tokenizers, [n for n, _ in wanted], [p for _, p in wanted])
        rows = iter(range(len(wanted)))
        slots = Slots.filled(tokens, [[next(rows) for _ in names] for names in chosen]).tokens
        self._most = max(self._most, slots.shape[1])
        return slots

    def _take_tokens(self, unet: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before the U-Net runs: leave it the prompt's own tokens, and note what the rows with more attend to."""
        hidden, self._steered = kwargs["encoder_hidden_states"], []
        places = hidden.shape[1] - self.tokenizers[0].model_max_length
        if not 0 < places <= self._most:
            return args, kwargs
        words = hidden[:, places:].contiguous()
        counts = (hidden[:, :places] != 0).any(dim=-1).sum(dim=1).tolist()
        for count in sorted({*counts} - {0}):
            rows = torch.tensor([i for i, c in enumerate(counts) if c == count], device=hidden.device)
            self._steered.append((rows, torch.cat([hidden[rows, :count], words[rows]], dim=1)))
        return args, {**kwargs, "encoder_hidden_states": words}

    def _attend(self, attention: Any, args: tuple[Tensor], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        """After a cross-attention has run: the rows with value tokens attend again, to these as well."""
        for rows, context in self._steered:
            steered = attention.forward(args[0][rows], **{**kwargs, "encoder_hidden_states": context})
            output = output.index_copy(0, rows, steered)
        return output

    def close(self) -> None:
        """Take the hooks off the pipeline's U-Net."""
        for hook in self._hooks:
            hook.remove()
