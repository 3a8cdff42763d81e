"""A LLaVA of a few megabytes, untrained: CLIP's image tower, a projector and a Llama, in the published layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

SPECIAL = ("<s>", "</s>", "<pad>", "<image>")
ANSWERS = ("Yes", "No")


@dataclasses.dataclass(frozen=True)
class Size:
    """How large it is; both towers have the same width, depth and heads."""

    image: int = 64
    patch: int = 8
    width: int = 96
    layers: int = 4
    heads: int = 4
    longest: int = 512  # tokens, those of an image among them


def tokenizer(texts: Iterable[str], words: int) -> Any:
    """A byte-level BPE with at most about so many words, learnt from texts; each answer is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=words, special_tokens=list(SPECIAL), initial_alphabet=alphabet)
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    wrapped: Any = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    wrapped.add_tokens(list(ANSWERS))
    return wrapped


def build(tokenizer: Any, size: Size) -> tuple[Any, Any]:
    """The model at random, and its processor; `save_pretrained(folder)` of both makes a folder as published."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    both = {
        "hidden_size": size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
    }
    vision = CLIPVisionConfig(
        **both,
        intermediate_size=4 * size.width,
        image_size=size.image,
        patch_size=size.patch,
        projection_dim=size.width,
    )
    text = LlamaConfig(
        **both,
        intermediate_size=3 * size.width,
        vocab_size=len(tokenizer),
        max_position_embeddings=size.longest,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(size.image // size.patch) ** 2,
        vision_feature_layer=-1,  # LLaVA leaves CLIP's last layer out; one that is learnt from nothing has use for it
        tie_word_embeddings=True,
    )
    square = {"height": size.image, "width": size.image}
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": size.image}, crop_size=square),
        tokenizer=tokenizer,
        patch_size=size.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return LlavaForConditionalGeneration(config), processor
