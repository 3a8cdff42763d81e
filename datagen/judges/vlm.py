"""A vision language model on this machine that is asked yes or no, read by the probabilities of its first tokens."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from datagen import judges
from datagen.judges import jury
from datagen.judges.networks import vlm
from datagen.weights.published import Folder

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = "1"
WEIGHTS = Folder("vlm", "llava-hf/llava-1.5-7b-hf")
REFERENCES = {
    "variants": "",
    "livo": "LiVO's evaluation (LLaVA-1.5-7B in transformers)",
    "vqascore": "the formula of VQAScore; its published figures are CLIP-FlanT5's",
}


class Options(judges.Options):
    """`weights` is the folder of any model that transformers knows as image-text-to-text, "" that of LLaVA-1.5-7B,
    "embedded" the one of the embedded jury.

    `rule` is how an answer is read: "variants" sums the spellings of yes and of no, "livo" is the softmax over Yes and
    No alone, in LiVO's words around the question, "vqascore" the mean probability of "Yes" and of the end after it.
    `question` makes one of a text, in the place of {prompt}; `request` stands after every question. "auto" is float16
    on a GPU, else float32.
    """

    weights: str = ""
    rule: vlm.Rule = "variants"
    question: str = Field(default='Does this image show "{prompt}"?', pattern=r"\{prompt\}")
    request: str = "Answer with yes or no."
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"


class Judge:
    """P(yes), 0…1, that an image shows a text, or to any question. It abstains where the model says neither."""

    name = "vlm"
    scale = 4.0  # the log-odds of a share rise by so much a unit around one half

    def __init__(self, options: Options) -> None:
        self._options = options
        embedded = options.weights == jury.EMBEDDED
        self._source = vlm.find(jury.folder(self.name) if embedded else WEIGHTS.find(options.weights))
        facts = judges.Facts(
            code_license="Apache-2.0",
            weights_license="as its model card says; Llama 2's for LLaVA-1.5",
            reference=REFERENCES[options.rule],
            absolute=True,
        )
        self.facts = jury.facts(facts) if embedded else facts

    @functools.cached_property
    def version(self) -> str:
        """Ours, how it is asked, and the weights'."""
        options = self._options
        asked = hashlib.sha256(f"{options.question}\0{options.request}".encode()).hexdigest()[:8]
        return f"{VERSION}:{options.rule}:{asked}:{vlm.precision(options.precision)}:{self._source.identity}"

    @functools.cached_property
    def _model(self) -> vlm.Vlm:
        return vlm.load(self._source, vlm.precision(self._options.precision))

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64 of the question whether the image shows the text; of no text NaN."""
        template = self._options.question
        return self.answer(images, [template.replace("{prompt}", text) if text else "" for text in prompts])

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> judges.Scores:
        """(N,) float64; of an empty question NaN. The same question of the same image is asked once."""
        asked = [f"{question} {self._options.request}".strip() if question else "" for question in questions]
        return vlm.answers(self._model, images, asked, self._options.rule)
