"""ImageReward's network against its definition in plain arithmetic, on files of the published layout."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from misfits import Change, copy, prefixed, reset, rewrite, without
from safetensors.torch import save_file
from torch import Tensor

from datagen.errors import ModelError
from datagen.judges.networks import imagereward
from datagen.judges.networks.imagereward import Config, Vision

TINY = Config(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    vocab_size=40,
    max_position_embeddings=64,
    head=(20, 12, 8, 4),
    vision=Vision(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
    ),
)
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz",
    "##s",
    "##t",
    ",",
    "red",
    "chair",
]
WORDS += ["the", "##"]
PROJECTIONS = ("blip.vision_proj", "blip.text_proj")  # in the file, and read by nobody
TEXTS = ["a red chair", "", "The RED chair, s", "red " * 60, "zzz [DEC] [ENC] \U0001f600", "chairs", "a"]


def published(config: Config, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the names and in the shapes of the published file, with all that it holds."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}

    def put(name: str, *shape: int) -> None:
        scale = 1 / math.sqrt(shape[-1]) if len(shape) > 1 else 0.1
        made[name] = torch.randn(shape, generator=generator) * scale

    def linear(name: str, out: int, into: int) -> None:
        put(f"{name}.weight", out, into)
        put(f"{name}.bias", out)

    def norm(name: str, width: int) -> None:
        put(f"{name}.weight", width)
        made[f"{name}.weight"] += 1
        put(f"{name}.bias", width)

    v, tower = config.vision, "blip.visual_encoder"
    put(f"{tower}.cls_token", 1, 1, v.hidden_size)
    put(f"{tower}.pos_embed", 1, (v.image_size // v.patch_size) ** 2 + 1, v.hidden_size)
    put(f"{tower}.patch_embed.proj.weight", v.hidden_size, 3, v.patch_size, v.patch_size)
    put(f"{tower}.patch_embed.proj.bias", v.hidden_size)
    for n in range(v.num_hidden_layers):
        block = f"{tower}.blocks.{n}"
        norm(f"{block}.norm1", v.hidden_size)
        linear(f"{block}.attn.qkv", 3 * v.hidden_size, v.hidden_size)
        linear(f"{block}.attn.proj", v.hidden_size, v.hidden_size)
        norm(f"{block}.norm2", v.hidden_size)
        linear(f"{block}.mlp.fc1", v.intermediate_size, v.hidden_size)
        linear(f"{block}.mlp.fc2", v.hidden_size, v.intermediate_size)
    norm(f"{tower}.norm", v.hidden_size)
    width, text = config.hidden_size, "blip.text_encoder"
    made[f"{text}.embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
    put(f"{text}.embeddings.word_embeddings.weight", config.vocab_size, width)
    put(f"{text}.embeddings.position_embeddings.weight", config.max_position_embeddings, width)
    norm(f"{text}.embeddings.LayerNorm", width)
    for n in range(config.num_hidden_layers):
        layer = f"{text}.encoder.layer.{n}"
        for kind, into in (("attention", width), ("crossattention", v.hidden_size)):
            linear(f"{layer}.{kind}.self.query", width, width)
            linear(f"{layer}.{kind}.self.key", width, into)
            linear(f"{layer}.{kind}.self.value", width, into)
            linear(f"{layer}.{kind}.output.dense", width, width)
            norm(f"{layer}.{kind}.output.LayerNorm", width)
        linear(f"{layer}.intermediate.dense", config.intermediate_size, width)
        linear(f"{layer}.output.dense", width, config.intermediate_size)
        norm(f"{layer}.output.LayerNorm", width)
    linear("blip.vision_proj", 256, v.hidden_size)
    linear("blip.text_proj", 256, width)
    widths = (width, *config.head, 1)
    for k, n in enumerate((0, 2, 4, 6, 7)):
        linear(f"mlp.layers.{n}", widths[k + 1], widths[k])
    return made


class Definition:
    """The score as the paper and BLIP define it, one attention head and one layer after the other."""

    def __init__(self, weights: dict[str, Tensor], config: Config) -> None:
        self.weights, self.config = weights, config

    def w(self, name: str) -> Tensor:
        return self.weights[name].double()

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.w(f"{name}.weight").T + self.w(f"{name}.bias")

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps)
        return scaled * self.w(f"{name}.weight") + self.w(f"{name}.bias")

    @staticmethod
    def gelu(x: Tensor) -> Tensor:
        return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))

    @staticmethod
    def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, real: Tensor) -> Tensor:
        """(T, width) queries of the (S, width) keys whose `real` is true."""
        size = q.shape[-1] // heads
        parts = []
        for h in range(heads):
            mine = slice(h * size, (h + 1) * size)
            logits = q[:, mine] @ k[:, mine].T / math.sqrt(size)
            weights = torch.exp(logits - logits.max(-1, keepdim=True).values) * real
            parts.append(weights / weights.sum(-1, keepdim=True) @ v[:, mine])
        return torch.cat(parts, -1)

    def image(self, pixels: Tensor) -> Tensor:
        """(3, S, S) → (1 + patches, width)."""
        v, tower = self.config.vision, "blip.visual_encoder"
        kernel, side = self.w(f"{tower}.patch_embed.proj.weight"), v.patch_size
        rows = [
            (kernel * pixels[:, y : y + side, x : x + side]).sum((1, 2, 3)) + self.w(f"{tower}.patch_embed.proj.bias")
            for y in range(0, v.image_size, side)
            for x in range(0, v.image_size, side)
        ]
        x = torch.cat([self.w(f"{tower}.cls_token")[0], torch.stack(rows)]) + self.w(f"{tower}.pos_embed")[0]
        for n in range(v.num_hidden_layers):
            block = f"{tower}.blocks.{n}"
            q, k, val = self.linear(f"{block}.attn.qkv", self.norm(f"{block}.norm1", x, 1e-6)).chunk(3, -1)
            seen = self.attend(q, k, val, v.num_attention_heads, torch.ones(len(x)))
            x = x + self.linear(f"{block}.attn.proj", seen)
            inner = self.linear(f"{block}.mlp.fc1", self.norm(f"{block}.norm2", x, 1e-6))
            x = x + self.linear(f"{block}.mlp.fc2", self.gelu(inner))
        return self.norm(f"{tower}.norm", x, 1e-6)

    def text(self, ids: Tensor, real: Tensor, features: Tensor) -> Tensor:
        """(T,) tokens and the features of an image → (width,) of the first token."""
        text, heads = "blip.text_encoder", self.config.num_attention_heads
        table, places = (self.w(f"{text}.embeddings.{k}_embeddings.weight") for k in ("word", "position"))
        x = self.norm(f"{text}.embeddings.LayerNorm", table[ids] + places[: len(ids)], 1e-12)
        for n in range(self.config.num_hidden_layers):
            layer = f"{text}.encoder.layer.{n}"
            for kind, other, mask in (("attention", None, real), ("crossattention", features, None)):
                source = x if other is None else other
                known = torch.ones(len(source)) if mask is None else mask
                q, k, v = (
                    self.linear(f"{layer}.{kind}.self.{part}", of)
                    for part, of in (("query", x), ("key", source), ("value", source))
                )
                out = self.linear(f"{layer}.{kind}.output.dense", self.attend(q, k, v, heads, known))
                x = self.norm(f"{layer}.{kind}.output.LayerNorm", x + out, 1e-12)
            inner = self.gelu(self.linear(f"{layer}.intermediate.dense", x))
            x = self.norm(f"{layer}.output.LayerNorm", x + self.linear(f"{layer}.output.dense", inner), 1e-12)
        return x[0]

    def score(self, pixels: Tensor, ids: Tensor, real: Tensor) -> float:
        x = self.text(ids, real, self.image(pixels))
        for n in (0, 2, 4, 6, 7):
            x = self.linear(f"mlp.layers.{n}", x)
        return (x.item() - 0.16717362830052426) / 1.0333394966054072


def pixels(count: int, side: int) -> Tensor:
    return torch.randn((count, 3, side, side), generator=torch.Generator().manual_seed(7))


def write(folder: Path, config: Config, weights: dict[str, Tensor], *, pickled: bool = False) -> Path:
    """A folder as the published one: weights, settings, and a vocabulary of BERT's form."""
    folder.mkdir()
    if pickled:
        torch.save(weights, folder / "ImageReward.pt")
    else:
        save_file(weights, folder / "ImageReward.safetensors")
    settings = config.model_dump() | {"architectures": ["BertModel"], "hidden_dropout_prob": 0.1, "encoder_width": 768}
    (folder / "med_config.json").write_text(json.dumps(settings))
    (folder / "vocab.txt").write_text("\n".join(WORDS[: config.vocab_size - 2]) + "\n", encoding="utf-8")
    return folder


def place(folder: Path) -> Path:
    """The file of weights in a folder."""
    return next(folder.glob("ImageReward.*"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("models") / "tiny", TINY, published(TINY))


@pytest.fixture(scope="module")
def scorer(folder: Path) -> imagereward.Scorer:
    return imagereward.load(imagereward.find(place(folder)), "cpu")


def check_parity(scorer: Any, weights: dict[str, Tensor], config: Config, images: Tensor, texts: list[str]) -> None:
    """Each image with each text, its features computed once, against the definition in float64."""
    definition = Definition(weights, config)
    features = scorer.encode(images)
    ids, mask = scorer.tokens(texts)
    pairs = [(i, t) for i in range(len(images)) for t in range(len(texts))]
    found = scorer.score(features[[i for i, _ in pairs]], [texts[t] for _, t in pairs])
    wanted = [definition.score(images[i].double(), ids[t], mask[t].double()) for i, t in pairs]
    assert found.dtype == torch.float32 and found.shape == (len(pairs),)
    assert found.tolist() == pytest.approx(wanted, abs=1e-5)


def test_equals_the_definition_on_a_file_of_the_published_layout(scorer: Any) -> None:
    check_parity(scorer, published(TINY), TINY, pixels(3, 32), TEXTS)
    check_parity(scorer, published(TINY), TINY, pixels(1, 32) * 30, TEXTS[:1])  # far from where it is trained


def test_the_score_is_of_the_first_token_and_says_so_in_either_direction(scorer: Any) -> None:
    """[CLS] stays where it is, and it sees the last word: a text that ends otherwise has another score."""
    ids, mask = scorer.tokens(["a red chair", ""])
    assert ids.shape == mask.shape == (2, 35)
    assert [WORDS[n] for n in ids[0, :5]] == ["[CLS]", "a", "red", "chair", "[SEP]"]
    assert mask.sum(1).tolist() == [5, 2] and ids[0, 5:].eq(0).all()
    features = scorer.encode(pixels(1, 32))[[0, 0]]
    first, second = scorer.score(features, ["a red chair", "a red the"]).tolist()
    assert abs(first - second) > 1e-3


def test_a_text_is_cut_at_35_tokens(scorer: Any) -> None:
    features = scorer.encode(pixels(1, 32))[[0] * 4]
    words = ["red", "chair", "the"] * 20
    texts = [" ".join(words[:33]), " ".join(words[:34]), " ".join(words), " ".join(words[:32])]
    found = scorer.score(features, texts).tolist()
    assert found[0] == found[1] == found[2] != found[3]


def test_a_score_depends_on_nothing_but_its_image_and_its_text(scorer: Any) -> None:
    images, texts = pixels(imagereward.BATCH + 3, 32), (TEXTS * 3)[: imagereward.BATCH + 3]
    together = scorer.score(scorer.encode(images), texts).tolist()
    alone = [scorer.score(scorer.encode(images[[k]]), [texts[k]])[0].item() for k in (0, 5, imagereward.BATCH + 2)]
    backwards = scorer.score(scorer.encode(images.flip(0)), texts[::-1]).tolist()[::-1]
    assert together == backwards
    assert alone == [together[k] for k in (0, 5, imagereward.BATCH + 2)]


@pytest.mark.slow  # 446 million weights, twice through
def test_equals_the_definition_in_the_published_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = Config()
    monkeypatch.setattr(imagereward, "BATCH", 1)
    weights = published(config)
    with torch.device("meta"):
        network = imagereward.ImageReward(config)
    assert sum(value.numel() for value in network.parameters()) == 446_206_689
    imagereward.checkpoint.fill("it", network, weights, network.names)
    network.blip["text_encoder"].embeddings.position_ids = torch.arange(512)[None]
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS + [f"word{n}" for n in range(30522 - len(WORDS))]))
    source = imagereward.Source(tmp_path, tmp_path, config)
    scorer = imagereward.Scorer(network, imagereward._tokenizer(source))
    check_parity(scorer, weights, config, pixels(1, 224), ["a red chair, the word7"])


@pytest.mark.parametrize("places", ["beside", "inside", "elsewhere", "tokenizer.json"])
def test_the_vocabulary_is_found(places: str, folder: Path, tmp_path: Path, scorer: Any) -> None:
    mine, elsewhere = copy(folder, tmp_path), None
    if places == "tokenizer.json":
        scorer._tokenizer.save_pretrained(mine)
        (mine / "vocab.txt").unlink()
    elif places != "beside":
        to = mine / "bert-base-uncased" if places == "inside" else tmp_path / "bert"
        to.mkdir()
        (mine / "vocab.txt").rename(to / "vocab.txt")
        elsewhere = to if places == "elsewhere" else None
    other = imagereward.load(imagereward.find(place(mine), elsewhere), "cpu")
    features = scorer.encode(pixels(1, 32))[[0] * len(TEXTS)]
    assert other.score(features, TEXTS).tolist() == scorer.score(features, TEXTS).tolist()


def halved(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}


@pytest.mark.parametrize(
    "change",
    [without("_proj"), without("position_ids"), without("vision_proj"), halved],
    ids=["no projections", "no positions", "one projection", "half precision"],
)
def test_what_changes_no_score_may_be_missing(change: Change, folder: Path, tmp_path: Path, scorer: Any) -> None:
    mine = copy(folder, tmp_path)
    rewrite(mine, change)
    other = imagereward.load(imagereward.find(place(mine)), "cpu")
    features = scorer.encode(pixels(1, 32))
    assert other.network.mlp["layers"]["0"].weight.dtype == torch.float32
    assert other.score(other.encode(pixels(1, 32)), ["a"]).item() == pytest.approx(
        scorer.score(features, ["a"]).item(), abs=2e-2 if change is halved else 0
    )


def broken(tensors: dict[str, Any]) -> dict[str, Any]:
    tensors["mlp.layers.6.weight"][0, 0] = float("nan")
    return tensors


def widened(tensors: dict[str, Any]) -> dict[str, Any]:
    return tensors | {"blip.visual_encoder.pos_embed": torch.zeros(1, 26, 32)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("crossattention"), "20 missing (blip.text_encoder.encoder.layer.0.crossattention"),
        (without("mlp.layers.7"), "2 missing (mlp.layers.7.bias, mlp.layers.7.weight)"),
        (without("blocks.1."), "12 missing (blip.visual_encoder.blocks.1.attn.proj.bias"),
        (lambda t: t | {"blip.itm_head.weight": torch.zeros(2, 24)}, "1 unexpected (blip.itm_head.weight)"),
        (prefixed("module."), "the file's names begin with 'module.'"),
        (widened, "blip.visual_encoder.pos_embed: [1, 26, 32] in the file, [1, 17, 32] in the model"),
        (broken, "hold NaN or infinite numbers in float32: 1 tensors (mlp.layers.6.weight)"),
    ],
)
def test_weights_that_do_not_fill_the_network_are_refused(
    change: Change, words: str, folder: Path, tmp_path: Path
) -> None:
    mine = copy(folder, tmp_path)
    rewrite(mine, change)
    with pytest.raises(ModelError) as error:
        imagereward.load(imagereward.find(place(mine)), "cpu")
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden_act": "relu"}, "has hidden_act 'relu': it should be 'gelu'"),
        ({"num_attention_heads": 5}, "make no network"),
        ({"num_hidden_layers": "many"}, "has num_hidden_layers 'many': it should be a valid integer"),
        ({"add_cross_attention": False}, "has add_cross_attention False"),
        ({"vision": {"patch": 8}}, "has vision.patch 8"),
        ({"vision": {"image_size": 224}}, "do not fit"),
        ({"head": [1, 2]}, "has head"),
        ({"std": 0}, "has std 0"),
        ({"vocab_size": 30524}, "has 40 words with BLIP's own, the network 30524: give that of bert-base-uncased"),
    ],
)
def test_settings_of_no_such_network_are_refused(
    settings: dict[str, Any], words: str, folder: Path, tmp_path: Path
) -> None:
    mine = copy(folder, tmp_path)
    reset(mine / "med_config.json", **settings)
    with pytest.raises(ModelError) as error:
        imagereward.load(imagereward.find(place(mine)), "cpu")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_vocabulary_that_is_missing_is_said_before_anything_is_read(folder: Path, tmp_path: Path) -> None:
    mine = copy(folder, tmp_path)
    (mine / "vocab.txt").unlink()
    with pytest.raises(ModelError, match="has no vocab.txt: put that of bert-base-uncased there"):
        imagereward.find(place(mine))
    (mine / "vocab.txt").write_text("")
    with pytest.raises(ModelError, match="vocabular"):
        imagereward.load(imagereward.find(place(mine)), "cpu")


def test_the_identity_follows_weights_settings_and_words_and_not_their_place(folder: Path, tmp_path: Path) -> None:
    mine = copy(folder, tmp_path)
    known = {imagereward.find(place(folder)).identity}
    assert {imagereward.find(place(mine)).identity} == known
    reset(mine / "med_config.json", hidden_dropout_prob=0.2)  # which no score depends on
    assert {imagereward.find(place(mine)).identity} == known
    changes: list[Callable[[], object]] = [
        lambda: reset(mine / "med_config.json", std=2.0),
        lambda: (mine / "vocab.txt").write_text("\n".join(reversed(WORDS))),
        lambda: rewrite(mine, lambda tensors: tensors | {"mlp.layers.7.bias": torch.ones(1)}),
    ]
    for change in changes:
        change()
        known.add(imagereward.find(place(mine)).identity)
    assert len(known) == 4


def test_a_pickle_is_read_by_its_hash_and_gives_the_same_scores(tmp_path: Path, scorer: Any) -> None:
    mine = write(tmp_path / "pickled", TINY, published(TINY), pickled=True)
    digest = hashlib.sha256((mine / "ImageReward.pt").read_bytes()).hexdigest()
    for known in (digest, digest.upper(), digest[:16]):
        other = imagereward.load(imagereward.find(place(mine), sha256=known), "cpu")
        features = other.encode(pixels(2, 32))
        assert other.score(features, ["a", "red"]).tolist() == scorer.score(features, ["a", "red"]).tolist()


def test_a_network_of_another_size_is_trained_and_saved_in_the_published_layout(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = imagereward.ImageReward(TINY)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    images, ids = pixels(8, 32), torch.tensor([[2, 30, 3, 0]] * 8)
    mask, wanted = ids.ne(0).long(), torch.tensor([1.0, -1.0] * 4)
    losses = []
    for _ in range(30):
        loss = ((network.score(network.encode(images), ids, mask) - wanted) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert {name for name, value in network.named_parameters() if value.grad is None} == set()
    mine = copy(folder, tmp_path)
    save_file(dict(imagereward.published(network)), mine / "ImageReward.safetensors")
    unread = {name for name in published(TINY) if name.endswith("position_ids") or name.startswith(PROJECTIONS)}
    assert set(imagereward.published(network)) == set(published(TINY)) - unread
    loaded = imagereward.load(imagereward.find(place(mine)), "cpu")
    with torch.no_grad():
        kept = network.eval().score(network.encode(images), *loaded.tokens(["red"] * 8))
    assert loaded.score(loaded.encode(images), ["red"] * 8).tolist() == pytest.approx(kept.tolist(), abs=1e-6)
