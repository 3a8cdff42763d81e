"""An HPSv3 at random as it is published: one file of weights, a folder of Qwen2-VL, and the source of its text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny_qwen
import torch
from safetensors.torch import save_file
from transformers import Qwen2VLConfig

from datagen.judges.networks import hpsv3

# Ours; the published one is longer, and stands in its package alone.
ASKING = '''
import nothing_that_is_installed

INSTRUCTION = """
Rate the image from 0 to 10.

**Detail:**
- Look closely.
Textual prompt - {text_prompt}


"""

other = f"{nothing_that_is_installed}"

prompt_with_special_token = """
The rating of this image: <|Reward|>

END
"""
'''
WIDTH = 32


def tensors(base: Path, words: int) -> dict[str, Any]:
    """The published names, in bfloat16 but for the head; large, so that scores differ."""
    torch.manual_seed(1)
    config = Qwen2VLConfig(**json.loads((base / "config.json").read_text()))
    config.text_config.vocab_size = words
    network = hpsv3.Network(config, torch.bfloat16)
    found = {name: network.state_dict()[ours].clone() for ours, name in network.names.items()}
    for name, value in found.items():
        if value.ndim > 1:
            found[name] = value * 3
    return found | {"lm_head.weight": torch.randn(words, WIDTH).bfloat16()}


def save(folder: Path) -> Path:
    """The folder of the weights, with everything else in its place."""
    base = tiny_qwen.save(folder / "qwen2-vl", [ASKING, "a red chair in the park"])
    (base / "model.safetensors").unlink()
    file = base / "processor_config.json"
    config = json.loads(file.read_text())
    config["image_processor"]["size"] = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}
    file.write_text(json.dumps(config))
    words = json.loads((base / "config.json").read_text())["text_config"]["vocab_size"]
    save_file(tensors(base, words + 1), folder / "HPSv3.safetensors")
    (folder / "data_collator_qwen.py").write_text(ASKING)
    return folder
