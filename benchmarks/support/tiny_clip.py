"""The text side of tiny models of the true architecture, for tests and benchmarks: CLIP's tokenizer and encoder."""

from __future__ import annotations

import string
from typing import Any

# Stable Diffusion's noise, as both of its versions have it.
NOISE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


def make_tokenizer(length: int) -> Any:
    """A CLIP tokenizer of letters whose ids end with the start and the end of a text, as CLIP's do."""
    from transformers import CLIPTokenizer

    characters = string.ascii_lowercase + string.digits + string.punctuation
    symbols = [*characters, *(f"{c}</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={symbol: k for k, symbol in enumerate(symbols)}, merges=[], model_max_length=length)


def text_config(tokenizer: Any, width: int, layers: int) -> Any:
    """The config of a text encoder for that tokenizer."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=len(tokenizer) - 1,
    )
