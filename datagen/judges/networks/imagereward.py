"""ImageReward (Xu et al. 2023, arXiv 2304.05977): BLIP's towers and an affine head, from the files as published.

The text encoder reads the text bidirectionally with cross-attention to the image; the last state of its first token,
[CLS], goes through five linear layers without activations between them. In float32 unless told; the head in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertTokenizer, BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from datagen.errors import ModelError, one_line
from datagen.judges.backbones import rows
from datagen.judges.networks.imagereward_files import SETTINGS as SETTINGS
from datagen.judges.networks.imagereward_files import Config as Config
from datagen.judges.networks.imagereward_files import Source as Source
from datagen.judges.networks.imagereward_files import Vision as Vision
from datagen.judges.networks.imagereward_files import find as find
from datagen.weights import checkpoint, parts

BATCH = 16  # images, and pairs of image and text, that go through at once
_WORDS = ("[DEC]", "[ENC]")  # BLIP's own, behind BERT's vocabulary; no text has them unless it spells them out
_LAYERS = (0, 2, 4, 6, 7)  # of the head, as the file counts them: between the others lies dropout
# What transformers calls the parts of BLIP's image tower, and what the file does; the text encoder has the same names.
_NAMES = (
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding", "pos_embed"),
    ("embeddings.patch_embedding", "patch_embed.proj"),
    ("encoder.layers", "blocks"),
    ("layer_norm", "norm"),
    ("self_attn.projection", "attn.proj"),
    ("self_attn", "attn"),
    ("post_layernorm", "norm"),
)


class ImageReward(nn.Module):
    """The network; `names` says what the published file calls its tensors."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        vision = BlipVisionConfig(**config.vision.model_dump(), hidden_act="gelu", initializer_range=0.02)
        own = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"}
        own |= {"max_position_embeddings", "layer_norm_eps", "hidden_act"}
        # A decoder's configuration has the cross-attention; that a text is not read causally is said when it is read.
        text = BlipTextConfig(
            **config.model_dump(include=own), encoder_hidden_size=config.vision.hidden_size, is_decoder=True
        )
        self.blip = nn.ModuleDict(
            {
                "visual_encoder": BlipVisionModel(vision),
                "text_encoder": BlipTextModel(text, add_pooling_layer=False),
            }
        )
        widths = (config.hidden_size, *config.head, 1)
        linear = {str(n): nn.Linear(widths[k], widths[k + 1]) for k, n in enumerate(_LAYERS)}
        self.mlp = nn.ModuleDict({"layers": nn.ModuleDict(linear)})

    @property
    def names(self) -> dict[str, str]:
        """What the published file calls each tensor of this network."""
        named = {}
        for name in self.state_dict():
            published = name
            for ours, theirs in _NAMES if name.startswith("blip.visual_encoder.") else ():
                published = published.replace(ours, theirs)
            named[name] = published
        return named

    def encode(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) normalised pixels → (N, 1 + patches, width) features of the images."""
        features: Tensor = self.blip["visual_encoder"](pixel_values=pixels).last_hidden_state
        return features

    def score(self, features: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """(N, 1 + patches, width) features and (N, T) tokens with their mask → (N,) scores, float32."""
        states = self.blip["text_encoder"](
            input_ids=ids, attention_mask=mask, encoder_hidden_states=features, is_decoder=False
        ).last_hidden_state
        weight, bias = self._affine()
        raw = states[:, 0].double() @ weight + bias
        scores: Tensor = (raw - self.config.mean) / self.config.std
        return scores.float()

    def _affine(self) -> tuple[Tensor, Tensor]:
        """The head as the one affine map that it is: (width,) and a number, float64."""
        layers: list[Any] = list(self.mlp["layers"].values())  # type: ignore[operator]
        weight, bias = layers[-1].weight.double()[0], layers[-1].bias.double()[0]
        for layer in reversed(layers[:-1]):
            bias = bias + weight @ layer.bias.double()
            weight = weight @ layer.weight.double()
        return weight, bias


class Scorer:
    """A loaded ImageReward with its tokenizer, in evaluation mode. What it says does not depend on the batch."""

    def __init__(self, network: ImageReward, tokenizer: Any, precision: rows.Precision = "float32") -> None:
        self.network, self._tokenizer = network.requires_grad_(False).eval(), tokenizer
        self._batched = functools.partial(rows.batched, network, size=BATCH, precision=precision)

    def encode(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) normalised float32 of at least one image → (N, 1 + patches, width), to be scored often."""
        features: Tensor = self._batched(self.network.encode, pixels)
        return features

    def score(self, features: Tensor, texts: Sequence[str]) -> Tensor:
        """(N, …) features and N texts, cut to the network's 35 tokens → (N,) float32 on the CPU."""
        scores: Tensor = self._batched(self.network.score, features, *self.tokens(texts)).cpu()
        return scores

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(N, 35) tokens and their mask. The first stays [CLS]; BLIP's [ENC] does not take its place here."""
        found = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self.network.config.longest,
            return_tensors="pt",
        )
        return found["input_ids"], found["attention_mask"]


def load(source: Source, device: str, precision: rows.Precision = "float32") -> Scorer:
    """The network with its weights, in float32. Raises ModelError unless they fill it and the vocabulary fits."""
    what = f"ImageReward in {source.weights.parent}"
    tokenizer = _tokenizer(source)
    tensors = checkpoint.read(source.weights, source.sha256)
    try:
        with torch.device("meta"):  # the weights take the place of what would be drawn at random
            network = ImageReward(source.config)
    except (ValueError, TypeError) as error:  # a width that the heads do not divide
        raise ModelError(f"the settings of {what} make no network: {one_line(error)}") from error
    checkpoint.fill(what, network, tensors, network.names)
    embeddings: Any = network.blip["text_encoder"].embeddings
    embeddings.position_ids = torch.arange(source.config.max_position_embeddings)[None]  # no file fills it
    return Scorer(network.to(device), tokenizer, precision)


def published(network: ImageReward) -> Mapping[str, Tensor]:
    """The tensors of a network under the names of the published file, ready to be saved."""
    names = network.names
    return {names[name]: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _tokenizer(source: Source) -> Any:
    """BERT's with BLIP's two words behind it. Raises ModelError unless the network has an embedding for each."""
    found = parts.tokenizer(source.vocabulary, source.config.longest, BertTokenizer)
    found.add_tokens(list(_WORDS), special_tokens=True)
    if len(found) != source.config.vocab_size:
        raise ModelError(
            f"the vocabulary in {source.vocabulary} has {len(found)} words with BLIP's own, the network "
            f"{source.config.vocab_size}: give that of bert-base-uncased"
        )
    return found
