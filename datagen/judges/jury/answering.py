"""A LLaVA of the jury: it learns to see, then to caption, to check a text word by word, and to answer yes or no.

Answers alone bind no question to an image in a model so small: one bit a question is too little to find both what the
question names and where the image shows it. Each word of a text that is true or not, so far, is what makes it learn.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from datagen.judges.jury import data, sight
from datagen.judges.jury.contrastive import descend, prepared
from datagen.judges.networks import llava
from datagen.judges.vlm import Options
from datagen.world.captions import caption
from datagen.world.grammar import ATTRIBUTES, HAZARDS, Scene
from datagen.world.train.vae import balanced_scene

SIZE = llava.Size(image=64, patch=16, width=128, layers=3, heads=4, longest=192)
WORDS = 900  # of its vocabulary at most, the bytes among them
STEPS, BATCH, PEAK, SEED = 480, 16, 1.5e-3, 41  # of a batch each entry is a yes and a no
WARM = 0.08  # of the steps, in which the rate rises
SHORT = 0.35  # of the steps, with texts about one thing only
WHOLE = 0.6  # of the texts later on
PRINCIPLES = 0.2  # of the questions
CAPTIONING = 0.3  # weight of its loss
ASKS_IMAGE, ASKS_PRINCIPLE = Options().question, 'Does this image keep to the principle "{prompt}"?'
REQUEST = Options().request
ASKED_OFTEN = (*data.VALUED, *data.VALUED, "thing", "place", "occupation")
STYLES = {"pixel": "pixel art", "outline": "line drawing"}


@dataclasses.dataclass(frozen=True)
class Turn:
    """A question about a scene and its answer. `true` is what the scene does show, said in the same words up to the
    first one that is wrong; "" for a question of which no word is right or wrong by itself."""

    question: str
    scene: Scene
    yes: bool
    true: str = ""


def turns(rng: random.Random, whole: float) -> tuple[Turn, Turn]:
    """A question that is to be answered with yes, and one with no: about a whole text with the chance `whole`."""
    if rng.random() < PRINCIPLES:
        return _principle(rng)
    scene = balanced_scene(rng)
    name, long = rng.choice(ASKED_OFTEN), rng.random() < whole
    other = data.changed(scene, name, rng)
    state = rng.getstate()
    true = ASKS_IMAGE.format(prompt=_text(scene, name, rng, long))
    rng.setstate(state)  # the same words, but for what is changed
    wrong = ASKS_IMAGE.format(prompt=_text(other, name, rng, long))
    return Turn(true, scene, True, true), Turn(wrong, scene, False, true)


def _text(scene: Scene, name: str, rng: random.Random, whole: bool) -> str:
    """A text about a scene that states what it shows of an attribute."""
    if name in data.VALUED:
        return data.worded(scene, [name], rng) if whole else rng.choice(data.wordings(name, getattr(scene, name)))
    if whole:
        return caption(scene, set(ATTRIBUTES) - {valued for valued in data.VALUED if rng.random() < 0.6}, rng)
    return caption(scene, {name, "count"} if name == "thing" else {name}, rng)


def _principle(rng: random.Random) -> tuple[Turn, Turn]:
    """Of a harm or a style: a scene that keeps to it, and the same that does not."""
    scene = balanced_scene(rng)
    if rng.random() < 0.6:
        harm = rng.choice(HAZARDS[1:])
        question = ASKS_PRINCIPLE.format(prompt=f"{harm} considered inappropriate")
        broken = dataclasses.replace(scene, hazard=harm)
        return Turn(question, data.changed(broken, "hazard", rng), True), Turn(question, broken, False)
    style, words = rng.choice(list(STYLES.items()))
    question = ASKS_PRINCIPLE.format(prompt=f"{words} preferred")
    kept = dataclasses.replace(scene, style=style)
    return Turn(question, kept, True), Turn(question, data.changed(kept, "style", rng), False)


def said(question: str, images: int = 1) -> str:
    """What the model reads: tokens of the image, then the question."""
    return f"USER: {'<image>' * images}\n{question} {REQUEST} ASSISTANT:"


class Lesson:
    """Some turns as the model reads them: `ids`, `mask` (B, longest), padded at the end; `last` the place (B,) from
    which it answers; `so_far` (B, longest) whether what it has read is true of the image, NaN where that is not said.
    """

    def __init__(self, tokenizer: Any, some: Sequence[Turn]) -> None:
        patches = (SIZE.image // SIZE.patch) ** 2
        read = tokenizer(
            [said(turn.question, patches) for turn in some], padding=True, padding_side="right", return_tensors="pt"
        )
        self.ids, self.mask = read["input_ids"], read["attention_mask"]
        self.last = self.mask.sum(1) - 1
        self.words = (self.mask == 1) & (self.ids != tokenizer.convert_tokens_to_ids("<image>"))
        self.so_far = torch.full(self.ids.shape, torch.nan)
        true = tokenizer([said(turn.true, patches) for turn in some])["input_ids"]
        opening = said(ASKS_IMAGE, patches).partition(' "')[0]
        begin = len(tokenizer(opening)["input_ids"])
        request = len(tokenizer(f" {REQUEST} ASSISTANT:", add_special_tokens=False)["input_ids"])
        for row, turn in enumerate(some):
            end = int(self.last[row]) + 1
            if not turn.true:
                self.so_far[row, end - request : end] = float(turn.yes)
                continue
            both = enumerate(zip(self.ids[row, :end].tolist(), true[row], strict=False))
            wrong = next((place for place, (one, other) in both if one != other), end)
            self.so_far[row, begin:wrong], self.so_far[row, wrong:end] = 1.0, 0.0


def train(out: Path, share: float = 1.0) -> None:
    """Train from random weights, `share` of the steps.

    Saves the folder `out` as transformers writes a LLaVA, in half precision.
    """
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    texts = [said(turn.question) for _ in range(1_500) for turn in turns(rng, WHOLE)]
    tokenizer = llava.tokenizer(texts, WORDS)
    model, processor = llava.build(tokenizer, SIZE)
    tower, steps = model.model.vision_tower, math.ceil(share * STEPS)
    sight.train(tower, SIZE.image, rng, share)
    tower.requires_grad_(False)
    check = torch.nn.Linear(SIZE.width, 1)  # whether what was read so far is true; no file has it
    learning = torch.nn.ModuleList([model.model.language_model, model.model.multi_modal_projector, check])
    optimizer = torch.optim.AdamW(learning.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK, total_steps=steps + 1, pct_start=WARM, cycle_momentum=False
    )
    for step in range(steps):
        some = [turn for _ in range(BATCH) for turn in turns(rng, 0.0 if step < SHORT * steps else WHOLE)]
        answers, rest = _losses(model, tokenizer, check, some)
        descend(optimizer, answers + rest, learning)
        schedule.step()
        if step % 50 == 0:
            print(f"vlm answers {step:5d} loss {answers.item():.3f}", flush=True)
    model.half().save_pretrained(out)
    processor.save_pretrained(out)


def _losses(model: Any, tokenizer: Any, check: torch.nn.Module, some: Sequence[Turn]) -> tuple[torch.Tensor, ...]:
    """Of the answers; and of what leads to them: captions of what is true, and whether each text is true so far."""
    lesson = Lesson(tokenizer, some)
    scenes = list(dict.fromkeys(turn.scene for turn in some))
    shown = prepared(data.pictures(scenes), SIZE.image)
    pixels = shown[[scenes.index(turn.scene) for turn in some]]
    inputs = {"input_ids": lesson.ids, "attention_mask": lesson.mask, "pixel_values": pixels}
    states = model.model(**inputs).last_hidden_state
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in llava.ANSWERS)
    right = torch.tensor([yes if turn.yes else no for turn in some])
    answers = functional.cross_entropy(model.lm_head(states[range(len(some)), lesson.last]), right)
    told = lesson.words[:, 1:] & torch.tensor([turn.yes for turn in some])[:, None]
    captions = functional.cross_entropy(model.lm_head(states[:, :-1][told]), lesson.ids[:, 1:][told])
    known = ~lesson.so_far.isnan()
    checks = functional.binary_cross_entropy_with_logits(check(states)[known][:, 0], lesson.so_far[known])
    return answers, CAPTIONING * captions + checks
