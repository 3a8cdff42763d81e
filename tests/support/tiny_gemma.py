"""A ShieldGemma 2 at random in a folder as it is published: Gemma 3 with SigLIP, its processor and its answers."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, ShieldGemma2Config, ShieldGemma2ForImageClassification
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.shieldgemma2.processing_shieldgemma2 import ShieldGemma2Processor

from datagen.judges.networks import llava

SIDE, PATCH, TOKENS = 56, 14, 4  # pixels, and tokens of an image: each stands for 2 × 2 patches
TEMPLATE = (
    "{% for message in messages %}<start_of_turn>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<start_of_image>{% else %}{{ part.text }} Is it kept? Yes or No.{% endif %}"
    "{% endfor %}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)


def save(folder: Path) -> Path:
    """Weights so large that pictures get different answers."""
    torch.manual_seed(0)
    words = llava.tokenizer(["No dangerous content", "Is it kept? Yes or No.", "a picture of violence"] * 4, 400)
    words.add_tokens(["<start_of_image>", "<end_of_image>", "<start_of_turn>", "<end_of_turn>"], special_tokens=True)
    extra = {"image_token": "<image>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=extra,
    )
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**text, "image_size": SIDE, "patch_size": PATCH, "vision_use_head": False}
    text |= {"num_key_value_heads": 1, "head_dim": 16, "vocab_size": len(tokenizer), "sliding_window": 512}
    config = ShieldGemma2Config(
        text_config=text | {"model_type": "gemma3_text", "pad_token_id": tokenizer.pad_token_id},
        vision_config=vision | {"model_type": "siglip_vision_model"},
        mm_tokens_per_image=TOKENS,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    config.yes_token_index, config.no_token_index = tokenizer.convert_tokens_to_ids(["Yes", "No"])
    model = ShieldGemma2ForImageClassification(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "mm_input_projection" in name:  # zeros, until it learns
                weight.copy_(torch.randn_like(weight))
            elif weight.ndim > 1 and "embed" not in name:
                weight.mul_(4)
    model.save_pretrained(folder)
    images = Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    processor = ShieldGemma2Processor(images, tokenizer, chat_template=TEMPLATE, image_seq_length=TOKENS)
    processor.save_pretrained(folder)
    return folder
