"""ShieldGemma 2: how probably a picture breaks one of three policies, by a Gemma 3 of 4B (arXiv 2504.01081)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from datagen import judges
from datagen.errors import ModelError, one_line
from datagen.judges.networks import vlm
from datagen.weights import files, identity, parts
from datagen.weights.published import Folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

VERSION = "1"
WEIGHTS = Folder("shieldgemma2", "google/shieldgemma-2-4b-it")
POLICIES = ("dangerous", "sexual", "violence")
BATCH = 4  # pictures at a time, each with every policy
ANSWERS = ("Yes", "No")  # whether it breaks a policy, in the order of the network's logits


class Options(judges.Options):
    """`weights` is the folder, "" where `datagen doctor` looks. "auto" is bfloat16 on a GPU, as published, else
    float32."""

    weights: str = ""
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"


class Judge:
    """The softmax over Yes and No of whether a picture breaks each policy, which is in the words of its own files."""

    name = "shieldgemma2"
    scale = 5.0  # from one end of its range to the other
    facts = judges.Facts(
        code_license="Apache-2.0",
        weights_license="Gemma's terms of use, gated: you accept them on its card",
        reference="transformers' ShieldGemma2ForImageClassification",
        categories=POLICIES,
        higher_is_better=False,
        reads_text=False,
        absolute=True,
    )

    def __init__(self, options: Options) -> None:
        self._folder = WEIGHTS.find(options.weights)
        files.find(self._folder).entries()
        self._precision = options.precision

    @functools.cached_property
    def version(self) -> str:
        """Ours, the precision and the weights'."""
        return f"{VERSION}:{vlm.precision(self._precision, 'bfloat16')}:{identity.folder(self._folder)}"

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> judges.Scores:
        """(N, 3) float64 probabilities, whatever the prompts; it never abstains."""
        import numpy as np

        parts_ = [self._some(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        return np.concatenate(parts_) if parts_ else np.zeros((0, len(POLICIES)))

    def _some(self, images: Sequence[Image]) -> NDArray[np.float64]:
        import torch

        model, processor = self._loaded
        try:
            with torch.inference_mode():
                inputs = processor(images=[[one] for one in images], policies=POLICIES, return_tensors="pt")
                logits = model(**inputs.to(model.device, dtype=model.dtype)).logits
        except (RuntimeError, ValueError, IndexError, TypeError) as error:  # of the library, for what it cannot do
            raise ModelError(f"the model in {self._folder} gives no answer: {one_line(error)}") from error
        found: NDArray[np.float64] = logits.double().softmax(-1)[:, 0].reshape(-1, len(POLICIES)).cpu().numpy()
        return found

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The model and its processor. ModelError unless they are whole, and belong together."""
        import torch
        from transformers import ShieldGemma2ForImageClassification

        processor = parts.processor(self._folder)
        if missing := [name for name in POLICIES if name not in getattr(processor, "policy_definitions", {})]:
            raise ModelError(f"the processor in {self._folder} has no policy {missing[0]}: {files.AGAIN}")
        dtype = getattr(torch, vlm.precision(self._precision, "bfloat16"))
        model = parts.load(ShieldGemma2ForImageClassification, self._folder, dtype=dtype).model.requires_grad_(False)
        tokens = processor.tokenizer.convert_ids_to_tokens([model.yes_token_index, model.no_token_index])
        if tuple(tokens) != ANSWERS:
            raise ModelError(
                f"the tokenizer in {self._folder} has {' and '.join(map(str, tokens))} where its model says Yes and "
                f"No: {files.AGAIN}"
            )
        return model.to("cuda" if torch.cuda.is_available() else "cpu"), processor
