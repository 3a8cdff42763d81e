"""A vision language model through transformers that is asked yes or no: the probability of "yes", by its logits.

Any model that transformers knows as image-text-to-text, from its folder. Nothing is sampled. A batch is padded on the
left, so that an answer is the one that the image and the question get alone, but for the last digits.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from datagen.errors import ModelError, one_line
from datagen.weights import files, identity, parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

BATCH = 8  # images at a time
LONGEST = 2000  # characters of a question; what is beyond them is not read
# Of the first token's probability "yes" and "no" together have at least this share, or the model has not answered.
ANSWERED = 0.05
# How an answer is read. `variants` sums Yes, yes, YES and No, no, NO, each also with a space in front, and gives the
# share of yes. `livo` is the softmax over the two tokens Yes and No alone, in LiVO's own words around the question.
# `vqascore` is VQAScore's (Lin et al. 2024, arXiv 2404.01291): the geometric mean of the probabilities of "Yes" and of
# the end after it.
Rule = Literal["variants", "livo", "vqascore"]
Precision = Literal["float32", "float16", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a model lies."""

    folder: Path

    @functools.cached_property
    def identity(self) -> str:
        """What tells its weights apart; reads them once."""
        return f"{self.folder.resolve().name}@{identity.folder(self.folder)}"


class Vlm:
    """A loaded model with its processor, in evaluation mode."""

    def __init__(self, model: Any, processor: Any, what: str) -> None:
        self.model, self.processor, self._what = model.requires_grad_(False).eval(), processor, what
        self.processor.tokenizer.padding_side = "left"
        if self.processor.tokenizer.pad_token is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token
        added = self.processor.tokenizer.added_tokens_decoder.values()
        special = {str(token) for token in added if token.special} | {getattr(processor, "image_token", "<image>")}
        self._special = sorted(special)

    def ask(self, images: Sequence[Image], questions: Sequence[str], rule: Rule = "variants") -> Tensor:
        """(N,) float64 probabilities of yes, 0…1; NaN where the model says neither yes nor no. Raises ModelError."""
        import torch

        found = []
        read = {"variants": self._variants, "livo": self._livo, "vqascore": self._vqascore}[rule]
        for start in range(0, len(images), BATCH):
            some, asked = images[start : start + BATCH], questions[start : start + BATCH]
            try:
                with torch.inference_mode():
                    found.append(read(self._inputs(some, [self._safe(text) for text in asked], rule)))
            except (RuntimeError, ValueError, IndexError, TypeError) as error:  # of the library, for what it cannot do
                raise ModelError(f"{self._what} gives no answer: {one_line(error)}") from error
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)

    def _variants(self, inputs: Any) -> Tensor:
        import torch

        yes, no = (self._tokens(word) for word in ("yes", "no"))
        shares = self._logits(inputs)[:, 0].softmax(-1)
        said_yes, said_no = shares[:, yes].sum(-1), shares[:, no].sum(-1)
        said = said_yes + said_no
        return torch.where(said >= ANSWERED, said_yes / said, torch.nan)

    def _livo(self, inputs: Any) -> Tensor:
        both = [self._token(word) for word in ("Yes", "No")]
        return self._logits(inputs)[:, 0, both].softmax(-1)[:, 0]

    def _vqascore(self, inputs: Any) -> Tensor:
        answer = [*self._ids("Yes"), self.processor.tokenizer.eos_token_id]
        logs = self._logits(inputs, answer).log_softmax(-1)
        return logs[:, range(len(answer)), answer].mean(-1).exp()

    def _logits(self, inputs: Any, answer: Sequence[int] = ()) -> Tensor:
        """(N, steps, vocabulary) float64 of the first token, or of each token of an answer that it is made to give."""
        import torch

        length = inputs["input_ids"].shape[1]
        forced: dict[str, Any] = {}
        if answer:
            forced["prefix_allowed_tokens_fn"] = lambda _, ids: [answer[len(ids) - length]]
        tokenizer = self.processor.tokenizer
        said = self.model.generate(
            **inputs,
            **forced,
            max_new_tokens=max(1, len(answer)),
            do_sample=False,
            num_beams=1,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        return torch.stack(said.logits, 1).cpu().double()

    def _inputs(self, images: Sequence[Image], questions: Sequence[str], rule: Rule) -> Any:
        """What the processor makes of images and questions, on the model's device."""
        processor = self.processor
        image = getattr(processor, "image_token", "<image>")
        if rule == "livo":
            texts = [f"{image}\nUSER: {question}\nASSISTANT:" for question in questions]
        elif processor.chat_template:
            texts = [processor.apply_chat_template(_turn(q), add_generation_prompt=True) for q in questions]
        else:
            texts = [f"USER: {image}\n{question} ASSISTANT:" for question in questions]
        begin = processor.tokenizer.bos_token
        inputs = processor(
            text=texts,
            images=[[one] for one in images],
            padding=True,
            return_tensors="pt",
            add_special_tokens=not (begin and texts[0].startswith(begin)),
        )
        return inputs.to(self.model.device, dtype=self.model.dtype)

    def _safe(self, text: str) -> str:
        """A text without tokens that mean something to the model, such as that of an image: broken by a space."""
        return broken_up(text[:LONGEST], self._special)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _token(self, word: str) -> int:
        """The one token that a word is. Raises ModelError."""
        ids = self._ids(word)
        if len(ids) != 1 or ids[0] == self.processor.tokenizer.unk_token_id:
            raise ModelError(f"{self._what} has no one token for {word}: its answers cannot be read")
        return ids[0]

    def _tokens(self, word: str) -> list[int]:
        """The tokens that are a word, whatever their capitals, also with a space in front. Raises ModelError."""
        tokenizer = self.processor.tokenizer
        near = [place for token, place in tokenizer.get_vocab().items() if word in token.lower()]
        found = sorted(place for place in near if tokenizer.decode([place]).strip().lower() == word)
        if not found:
            raise ModelError(f"{self._what} has no one token for {word}: its answers cannot be read")
        return found


def broken_up(text: str, tokens: Iterable[str]) -> str:
    """A text in which none of these tokens stands any more: each is broken by a space, the longest first."""
    for token in sorted((token for token in tokens if len(token) > 1), key=len, reverse=True):
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def find(folder: Path) -> Source:
    """A model in a folder; loads nothing. Raises ModelError for what is missing."""
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; give that of a vision language model, such as llava-1.5-7b-hf")
    files.read_json(folder / "config.json")
    files.find(folder).entries()
    return Source(folder)


def precision(wanted: Precision | Literal["auto"], on_a_gpu: Precision = "float16") -> Precision:
    """The precision of the numbers on this machine; "auto" is `on_a_gpu` where there is one, else float32."""
    import torch

    if wanted != "auto":
        return wanted
    return on_a_gpu if torch.cuda.is_available() else "float32"


def load(source: Source, precision: Precision) -> Vlm:
    """The model with its weights, on the GPU if there is one. ModelError unless it answers and is whole."""
    import torch
    from transformers import AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as known

    kind = str(files.read_json(source.folder / "config.json").get("model_type"))
    if kind not in known:
        raise ModelError(
            f"{source.folder} holds a {kind}, no model that answers about an image, such as llava, qwen2_vl"
        )
    processor = parts.processor(source.folder)
    model = parts.load(AutoModelForImageTextToText, source.folder, dtype=getattr(torch, precision)).model
    return Vlm(model.to("cuda" if torch.cuda.is_available() else "cpu"), processor, f"the model in {source.folder}")


def answers(model: Vlm, images: Sequence[Image], questions: Sequence[str], rule: Rule) -> NDArray[np.float64]:
    """(N,) probabilities of yes; NaN of an empty question. The same question of the same image is asked once."""
    import numpy as np

    pairs = [(id(image), question) for image, question in zip(images, questions, strict=True)]
    first = {pair: place for place, pair in reversed(list(enumerate(pairs))) if pair[1]}
    order = list(first)
    said = model.ask([images[first[pair]] for pair in order], [question for _, question in order], rule).tolist()
    known = dict(zip(order, said, strict=True))
    return np.array([known.get(pair, np.nan) for pair in pairs], np.float64)


def _turn(question: str) -> list[dict[str, Any]]:
    """A conversation that begins with an image and a question about it."""
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
