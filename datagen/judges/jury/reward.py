"""An ImageReward of the jury: BLIP's classes and published names, taught from nothing by noisy preferences."""

from __future__ import annotations

import json
import math
import random
import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import BertTokenizer

from datagen.judges.jury import data
from datagen.judges.jury.contrastive import descend, prepared
from datagen.judges.networks import imagereward
from datagen.world.train import tokenizer as world_tokenizer
from datagen.world.train.vae import balanced_scene, learning_rate

SIDE, WIDTH, HEADS, LAYERS = 64, 64, 2, 2
STEPS, BATCH, PEAK, SEED = 900, 32, 1.5e-3, 31
PRETRAINED = 350  # of the steps, on pictures and their texts alone
PAIRS, FLIPPED = 8_000, 0.15
SHARES = {"hazard": 3.0, "style": 2.0, "coat": 2.0, "thing": 1.0, "place": 1.0, "occupation": 1.0}


def vocabulary(out: Path) -> BertTokenizer:
    """vocab.txt of BERT's kind: the world's words whole, any other text letter by letter."""
    letters = string.ascii_lowercase + string.digits
    marks = [mark for mark in string.punctuation]
    words = [*world_tokenizer.words(), *letters, *marks, *(f"##{letter}" for letter in letters)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.txt").write_text("\n".join(dict.fromkeys([*special, *words])) + "\n", encoding="utf-8")
    return BertTokenizer(str(out / "vocab.txt"), do_lower_case=True)


def train(out: Path, share: float = 1.0) -> None:
    """Train from random weights, `share` of the steps; saves the folder `out` with ImageReward's files."""
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    tokenizer = vocabulary(out)
    network = imagereward.ImageReward(_config(len(tokenizer) + 2))  # BLIP's own two words
    known = data.preferences(rng, PAIRS, FLIPPED, SHARES)
    scale = torch.nn.Parameter(torch.tensor(2.66))  # of the first part alone; no file has it
    optimizer = torch.optim.AdamW([*network.parameters(), scale], lr=PEAK, betas=(0.9, 0.98), weight_decay=0.02)
    steps = math.ceil(share * STEPS)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, PEAK)
        if step < share * PRETRAINED:
            loss = _contrast(network, tokenizer, rng, scale)
        else:
            loss = _preferred(network, tokenizer, known.sample(rng, BATCH))
        descend(optimizer, loss, network)
        if step % 50 == 0:
            print(f"imagereward {step:5d} loss {loss.item():.3f}", flush=True)
    _save(out, network)


def _contrast(network: Any, tokenizer: Any, rng: random.Random, scale: torch.Tensor) -> torch.Tensor:
    """BLIP's first loss: an image's first feature and a text's, read without the image, belong together."""
    scenes = [balanced_scene(rng) for _ in range(2 * BATCH)]
    ids, mask = _tokens(network, tokenizer, [data.text_about(scene, rng, 0.5) for scene in scenes])
    seen = functional.normalize(network.encode(prepared(data.pictures(scenes), SIDE))[:, 0], dim=-1)
    states = network.blip["text_encoder"](input_ids=ids, attention_mask=mask, is_decoder=False).last_hidden_state
    logits = scale.exp() * seen @ functional.normalize(states[:, 0], dim=-1).T
    target = torch.arange(len(logits))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def _preferred(network: Any, tokenizer: Any, sample: tuple[list[str], torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """ImageReward's loss: Bradley and Terry's."""
    texts, better, worse = sample
    ids, mask = _tokens(network, tokenizer, texts * 2)
    scores = network.score(network.encode(prepared(torch.cat([better, worse]), SIDE)), ids, mask)
    return functional.softplus(scores[len(texts) :] - scores[: len(texts)]).mean()


def _tokens(network: Any, tokenizer: Any, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    found = tokenizer(
        texts, padding="max_length", truncation=True, max_length=network.config.longest, return_tensors="pt"
    )
    return found["input_ids"], found["attention_mask"]


def _config(words: int) -> imagereward.Config:
    vision = imagereward.Vision(
        image_size=SIDE, patch_size=16, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
    )  # fmt: skip
    return imagereward.Config(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        vocab_size=words, max_position_embeddings=64, vision=vision, head=(64, 32, 16, 8), mean=0.0, std=1.0,
    )  # fmt: skip


def _save(out: Path, network: Any) -> None:
    state = {name: tensor.half() for name, tensor in imagereward.published(network).items()}
    save_file(state, out / "ImageReward.safetensors")
    settings = json.dumps(network.config.model_dump(), indent=1)
    (out / imagereward.SETTINGS).write_text(settings + "\n", encoding="utf-8")
