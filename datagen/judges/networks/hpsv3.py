"""HPSv3 (Ma et al. 2025, arXiv 2508.03789): a Qwen2-VL and a small head on the state of one token, from its file.

The image stands before a text that has the token, and both are read as its reference reads them: tokens count one
after the other, those of the image too, and rotate by frequencies that are rounded to bfloat16, as they were when it
learnt. Neither is what transformers' Qwen2-VL does by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen2VLConfig, Qwen2VLModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRotaryEmbedding, Qwen2VLVisionRotaryEmbedding

from datagen.errors import ModelError, one_line
from datagen.judges.networks.hpsv3_files import PLACE, REWARD, Source
from datagen.judges.networks.vlm import LONGEST, Precision, broken_up
from datagen.weights import checkpoint, files, parts

BATCH = 4  # images at a time
HEAD = (1024, 16, 2)  # widths
READ = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw")
# What the published file calls the parts of this network; it also has what would say the next word.
_NAMES = {"network.language_model.": "model.", "network.visual.": "visual.", "rm_head.": "rm_head."}
_UNREAD = "lm_head.weight"


class Network(nn.Module):
    """transformers' Qwen2VLModel and the head, which is in float32 whatever the rest is in."""

    def __init__(self, config: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = Qwen2VLModel(config).to(dtype)
        layers = [nn.Linear(config.text_config.hidden_size, HEAD[0]), nn.ReLU(), nn.Dropout(0.05)]
        self.rm_head = nn.Sequential(*layers, nn.Linear(*HEAD[:2]), nn.ReLU(), nn.Linear(*HEAD[1:]))

    @property
    def names(self) -> dict[str, str]:
        """What the published file calls each tensor of this network."""
        ours = {name: next(prefix for prefix in _NAMES if name.startswith(prefix)) for name in self.state_dict()}
        return {name: _NAMES[prefix] + name.removeprefix(prefix) for name, prefix in ours.items()}

    def forward(self, input_ids: Tensor, attention_mask: Tensor, pixel_values: Tensor, image_grid_thw: Tensor) -> Any:
        """(N, T) tokens, padded on the right, and patches of N images → (N, T, width) states of the text model."""
        embedded = self.network.get_input_embeddings()(input_ids)
        seen = torch.cat(self.network.get_image_features(pixel_values, image_grid_thw).pooler_output)
        where = (input_ids == self.network.config.image_token_id)[..., None].expand_as(embedded)
        places = torch.arange(input_ids.shape[1], device=input_ids.device).expand(3, len(input_ids), -1)
        return self.network.language_model(
            inputs_embeds=embedded.masked_scatter(where, seen.to(embedded.dtype)),
            attention_mask=attention_mask,
            position_ids=places,
            use_cache=False,
        ).last_hidden_state


class Rounded(Qwen2VLVisionRotaryEmbedding):
    """Angles, cosines and sines of patches in bfloat16, as its reference computes them."""

    def forward(self, x: Tensor, position_ids: Tensor) -> Any:
        """(2, N) rows and columns → cosines and sines of (N, width of a head)."""
        angles = position_ids[..., None].bfloat16() * self.inv_freq.bfloat16()
        both = (self.recomposition_frequencies(part).float() for part in (angles.cos(), angles.sin()))
        return tuple(both)


class Scorer:
    """A loaded HPSv3. What it says of a pair does not depend on the others, but for the last digits."""

    def __init__(self, network: Network, processor: Any, text: str) -> None:
        self._network, self._processor, self._text = network.requires_grad_(False).eval(), processor, text
        self._device = network.rm_head[0].weight.device
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "right"
        self._reward = tokenizer.convert_tokens_to_ids(REWARD)
        self._special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]

    def score(self, images: Sequence[Any], texts: Sequence[str]) -> Tensor:
        """(N, 2) float64, mu and sigma, of (H, W, 3) pixels and texts. Raises ModelError."""
        found = [torch.zeros(0, 2, dtype=torch.float64)]
        for start in range(0, len(images), BATCH):
            some, asked = images[start : start + BATCH], [self._asked(text) for text in texts[start : start + BATCH]]
            try:
                with torch.inference_mode():
                    found.append(self._some(some, asked))
            except (RuntimeError, ValueError, IndexError) as error:  # of the library, for what it cannot do
                raise ModelError(f"HPSv3 gives no answer: {one_line(error)}") from error
        return torch.cat(found)

    def _some(self, images: Sequence[Any], asked: Sequence[str]) -> Tensor:
        turns = [_turn(text) for text in asked]
        inputs = self._processor(
            text=[self._processor.apply_chat_template(turn, add_generation_prompt=True) for turn in turns],
            images=list(images),
            padding=True,
            return_tensors="pt",
        ).to(self._device)
        states = self._network(**{name: inputs[name] for name in READ})
        found: Tensor = self._network.rm_head(states[inputs["input_ids"] == self._reward].float())
        return found.double().cpu()

    def _asked(self, text: str) -> str:
        return self._text.replace(PLACE, broken_up(text[:LONGEST], self._special))


def load(source: Source, precision: Precision) -> Scorer:
    """The network with its weights, on the GPU if there is one. Raises ModelError unless they fill it."""
    what = f"HPSv3 in {source.weights.parent}"
    processor = parts.processor(source.base)
    processor.tokenizer.add_tokens([REWARD], special_tokens=True)
    config = Qwen2VLConfig(**files.read_json(source.base / "config.json"))
    config.text_config.vocab_size = len(processor.tokenizer)  # as its reference makes room for the token
    tensors = checkpoint.read(source.weights)
    tensors.pop(_UNREAD, None)
    try:
        with torch.device("meta"):  # the weights take the place of what would be drawn at random
            network = Network(config, getattr(torch, precision))
        network.network.language_model.rotary_emb = Qwen2VLRotaryEmbedding(config.text_config)
        network.network.visual.rotary_pos_emb = Rounded(config.vision_config)
    except (ValueError, TypeError, KeyError) as error:  # settings that no such network has
        raise ModelError(f"the settings in {source.base} make no network: {one_line(error)}") from error
    frequencies = network.network.language_model.rotary_emb.inv_freq
    frequencies.copy_(frequencies.bfloat16())
    checkpoint.fill(what, network, tensors, network.names)
    return Scorer(network.to("cuda" if torch.cuda.is_available() else "cpu"), processor, source.text)


def _turn(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
