"""Models that are asked yes or no: each way to read an answer against plain arithmetic on the model's own logits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_llava
import tiny_qwen
import torch
from misfits import copy, prefixed, reset, rewrite, without
from PIL import Image
from safetensors.torch import load_file
from tiny_llava import CAPTIONS, noise

from datagen.errors import ModelError
from datagen.judges.networks import llava, vlm

QUESTIONS = [
    "Does this image show a dog?",
    "",
    "Ein Gärtner \U0001f600?",
    "is it red? " * 9,
    "a <image> </s> <s>",
    "Yes?",
]
CHAT = (
    "{% for message in messages %}[{{ message.role }}] {% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} [assistant] {% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava.save(tmp_path_factory.mktemp("vlm") / "tiny-llava")


@pytest.fixture(scope="module")
def asked(folder: Path) -> vlm.Vlm:
    return vlm.load(vlm.find(folder), "float32")


def logits(asked: vlm.Vlm, image: Image.Image, text: str, answer: Sequence[int] = ()) -> torch.Tensor:
    """(1 + answer, vocabulary): one plain forward pass over a text that is written out, without padding or a cache."""
    processor = asked.processor
    before, after = text.split("<image>")
    tokens = processor.tokenizer
    ids = [tokens.bos_token_id, *tokens(before, add_special_tokens=False)["input_ids"]]
    ids += [tokens.convert_tokens_to_ids("<image>")] * 64 + tokens(after, add_special_tokens=False)["input_ids"]
    pixels = processor.image_processor(image, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        said = asked.model(input_ids=torch.tensor([[*ids, *answer]]), pixel_values=pixels, use_cache=False).logits[0]
    return said[len(ids) - 1 :].double()


def spaced(question: str) -> str:
    return question.replace("<", "< ") if "<image>" in question else question


def test_livo_is_the_softmax_over_two_tokens_after_livos_own_words(asked: vlm.Vlm) -> None:
    images = noise(len(QUESTIONS))
    wanted = []
    for image, question in zip(images, QUESTIONS, strict=True):
        said = logits(asked, image, f"<image>\nUSER: {spaced(question)}\nASSISTANT:")[0].exp()
        yes, no = (said[asked.processor.tokenizer.convert_tokens_to_ids(word)] for word in ("Yes", "No"))
        wanted.append((yes / (yes + no)).item())
    found = asked.ask(images, QUESTIONS, "livo")
    assert found.dtype == torch.float64 and found.tolist() == pytest.approx(wanted, abs=1e-5)
    assert len({round(value, 3) for value in wanted}) > 3


def test_variants_are_all_spellings_of_one_token_and_their_share(
    asked: vlm.Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm, "ANSWERED", 0)
    tokens = asked.processor.tokenizer
    spelt = {
        word: [n for n in range(len(tokens)) if tokens.decode([n]).strip().lower() == word] for word in ("yes", "no")
    }
    assert len(spelt["yes"]) >= 2 and tokens.convert_tokens_to_ids("Yes") in spelt["yes"]
    images, wanted = noise(len(QUESTIONS)), []
    for image, question in zip(images, QUESTIONS, strict=True):
        shares = logits(asked, image, f"USER: <image>\n{spaced(question)} ASSISTANT:")[0].softmax(-1)
        yes, no = (sum(shares[n] for n in spelt[word]) for word in ("yes", "no"))
        wanted.append(float(yes / (yes + no)))
    assert asked.ask(images, QUESTIONS).tolist() == pytest.approx(wanted, abs=1e-5)


def test_vqascore_is_the_mean_log_probability_of_yes_and_of_the_end(asked: vlm.Vlm) -> None:
    tokens, images, wanted = asked.processor.tokenizer, noise(len(QUESTIONS)), []
    yes, end = tokens.convert_tokens_to_ids("Yes"), tokens.eos_token_id
    for image, question in zip(images, QUESTIONS, strict=True):
        said = logits(asked, image, f"USER: <image>\n{spaced(question)} ASSISTANT:", [yes]).softmax(-1)
        wanted.append((said[0, yes] * said[1, end]).sqrt().item())
    assert asked.ask(images, QUESTIONS, "vqascore").tolist() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("rule", ["variants", "livo", "vqascore"])
def test_an_answer_is_the_same_alone_and_in_company(
    rule: vlm.Rule, asked: vlm.Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm, "ANSWERED", 0)
    images, questions = noise(vlm.BATCH + 3), (QUESTIONS * 2)[: vlm.BATCH + 3]
    together = asked.ask(images, questions, rule)
    backwards = asked.ask(images[::-1], questions[::-1], rule).flip(0)
    alone = torch.cat([asked.ask([image], [text], rule) for image, text in zip(images, questions, strict=True)])
    assert together.tolist() == pytest.approx(alone.tolist(), abs=1e-4)
    assert together.tolist() == pytest.approx(backwards.tolist(), abs=1e-4)


def test_a_model_that_says_neither_yes_nor_no_abstains(asked: vlm.Vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm, "ANSWERED", 1.1)
    assert asked.ask(noise(2), QUESTIONS[:2]).isnan().all()
    assert not asked.ask(noise(2), QUESTIONS[:2], "livo").isnan().any()
    assert asked.ask([], []).shape == (0,)


def test_a_chat_template_is_followed_but_by_livo(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm, "ANSWERED", 0)
    mine = copy(folder, tmp_path)
    plain = vlm.load(vlm.find(mine), "float32")
    (mine / "chat_template.jinja").write_text(CHAT)
    talks = vlm.load(vlm.find(mine), "float32")
    image = noise(1)
    shares = logits(plain, image[0], "[user] <image>is it? [assistant] ")[0].softmax(-1)
    yes, no = (shares[plain._tokens(word)].sum() for word in ("yes", "no"))
    assert talks.ask(image, ["is it?"]).item() == pytest.approx((yes / (yes + no)).item(), abs=1e-5)
    assert talks.ask(image, ["is it?"]).item() != pytest.approx(plain.ask(image, ["is it?"]).item(), abs=1e-4)
    assert talks.ask(image, ["is it?"], "livo").item() == pytest.approx(plain.ask(image, ["is it?"], "livo").item())
    # A template that begins with the first token already gets no second one.
    (mine / "chat_template.jinja").write_text("<s>" + CHAT)
    again = vlm.load(vlm.find(mine), "float32")
    assert again.ask(image, ["is it?"]).item() == pytest.approx(talks.ask(image, ["is it?"]).item(), abs=1e-6)


def test_words_that_mean_something_to_the_model_are_only_words(asked: vlm.Vlm) -> None:
    assert (
        asked._safe("<image> and </s><s> and <<image>image> Yes") == "< image> and < /s>< s> and << image>image> Yes"
    )
    hostile = ["<image>" * 5, "</s></s>", "{{ messages }} {% raw %}", "\x00\u202e", "a" * 100_000]
    assert not asked.ask(noise(5), hostile, "livo").isnan().any()
    long = ["a" * vlm.LONGEST, "a" * vlm.LONGEST + " and much more"]
    first, second = asked.ask(noise(1) * 2, long, "livo").tolist()
    assert first == pytest.approx(second, abs=1e-6)


def published(tensors: dict[str, Any]) -> dict[str, Any]:
    """The names in llava-1.5-7b-hf, which has a head of its own."""
    found = {name.replace("vision_tower.", "vision_tower.vision_model."): value for name, value in tensors.items()}
    return found | {"language_model.lm_head.weight": found["language_model.model.embed_tokens.weight"].clone()}


def gathered(tensors: dict[str, Any]) -> dict[str, Any]:
    """The names since all lies under one model."""
    found = {f"model.{n}".replace("language_model.model.", "language_model."): v for n, v in tensors.items()}
    return found | {"lm_head.weight": found["model.language_model.embed_tokens.weight"].clone()}


@pytest.mark.parametrize("names", [published, gathered])
def test_the_names_of_the_published_file_are_read_and_those_that_followed(
    names: Any, folder: Path, tmp_path: Path, asked: vlm.Vlm
) -> None:
    mine = copy(folder, tmp_path)
    config = json.loads((mine / "config.json").read_text())
    text = config["text_config"] | {"tie_word_embeddings": False}
    reset(mine / "config.json", tie_word_embeddings=False, text_config=text)
    assert "language_model.model.layers.0.self_attn.q_proj.weight" in load_file(mine / "model.safetensors")
    rewrite(mine, names)
    other = vlm.load(vlm.find(mine), "float32")
    images = noise(3)
    assert other.ask(images, QUESTIONS[:3], "livo").tolist() == asked.ask(images, QUESTIONS[:3], "livo").tolist()
    rewrite(mine, without("lm_head"))
    with pytest.raises(ModelError, match=r"1 missing \(lm_head.weight\)"):
        vlm.load(vlm.find(mine), "float32")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("multi_modal_projector"), "4 missing (model.multi_modal_projector.linear_1.bias"),
        (without("layers.1.mlp"), "missing"),
        (prefixed("other."), "missing"),
        (lambda tensors: tensors | {"model.extra": torch.zeros(2)}, "1 unexpected (model.extra)"),
        (lambda tensors: {n: v * float("nan") if "linear_1.bias" in n else v for n, v in tensors.items()}, "NaN"),
    ],
)
def test_weights_that_do_not_fill_the_model_are_refused(change: Any, words: str, folder: Path, tmp_path: Path) -> None:
    mine = copy(folder, tmp_path)
    rewrite(mine, change)
    with pytest.raises(ModelError) as error:
        vlm.load(vlm.find(mine), "float32")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_such_model_is_refused_before_it_is_read(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        vlm.find(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="cannot be read"):
        vlm.find(tmp_path)
    mine = copy(folder, tmp_path)
    reset(mine / "config.json", model_type="bert")
    with pytest.raises(ModelError, match="holds a bert, no model that answers about an image, such as llava"):
        vlm.load(vlm.find(mine), "float32")
    reset(mine / "config.json", model_type="llava")
    (mine / "model.safetensors").rename(mine / "pytorch_model.bin")
    with pytest.raises(ModelError, match="a pickle can run code"):
        vlm.find(mine)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("processor_config.json", None),
        ("tokenizer.json", None),
        ("tokenizer.json", "{}"),
        ("processor_config.json", "["),
    ],
)
def test_a_processor_that_is_not_whole_is_refused(
    name: str, content: str | None, folder: Path, tmp_path: Path
) -> None:
    mine = copy(folder, tmp_path)
    (mine / name).unlink() if content is None else (mine / name).write_text(content)
    with pytest.raises(ModelError) as error:
        vlm.load(vlm.find(mine), "float32")
    assert "\n" not in str(error.value) and str(mine) in str(error.value)


def test_code_that_comes_with_a_model_is_not_run(folder: Path, tmp_path: Path) -> None:
    mine = copy(folder, tmp_path)
    (mine / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass P: pass\n")
    reset(mine / "processor_config.json", auto_map={"AutoProcessor": "own.P"}, processor_class="P")
    with pytest.raises(ModelError):
        vlm.load(vlm.find(mine), "float32")
    reset(mine / "config.json", auto_map={"AutoModelForImageTextToText": "own.P"})
    with pytest.raises(ModelError):
        vlm.load(vlm.find(mine), "float32")
    assert not (tmp_path / "ran").exists()


def test_a_vocabulary_without_yes_is_said(folder: Path) -> None:
    mine = vlm.load(vlm.find(folder), "float32")
    for word, look in (("perhaps", mine._tokens), ("perhaps", mine._token)):
        with pytest.raises(ModelError, match="has no one token for perhaps: its answers cannot be read"):
            look(word)


def test_what_the_library_cannot_do_is_one_line(folder: Path, tmp_path: Path) -> None:
    mine = copy(folder, tmp_path)
    reset(mine / "processor_config.json", patch_size=16)
    with pytest.raises(ModelError, match="gives no answer: ") as error:
        vlm.load(vlm.find(mine), "float32").ask(noise(1), ["is it?"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rule", ["variants", "livo", "vqascore"])
def test_a_model_of_another_family_answers_alike(
    rule: vlm.Rule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qwen2-VL: images of other numbers of tokens in one batch, positions in three dimensions, a part for videos."""
    monkeypatch.setattr(vlm, "ANSWERED", 0)
    model = vlm.load(vlm.find(tiny_qwen.save(tmp_path / "qwen", CAPTIONS)), "float32")
    questions = ["Is it red?", "", "is it a <|image_pad|><|im_end|>? " * 5, "a", "b", "Is it red?"]
    together = model.ask(noise(6), questions, rule)
    alone = torch.cat([model.ask([one], [text], rule) for one, text in zip(noise(6), questions, strict=True)])
    assert together.tolist() == pytest.approx(alone.tolist(), abs=1e-4)
    assert len({round(value, 9) for value in together.tolist()}) == 6


def test_a_small_one_learns_to_answer() -> None:
    """Red or blue, from random weights: what is trained here is the same model that is asked."""
    torch.manual_seed(0)
    size = llava.Size(image=32, width=32, layers=2)
    model, processor = llava.build(llava.tokenizer(CAPTIONS, 300), size)
    images = [Image.new("RGB", (32, 32), (200 + k, 20, 20) if k % 2 else (20, 20, 200 + k)) for k in range(8)]
    text = ["USER: <image>\nis it red? ASSISTANT:" + ("Yes" if k % 2 else "No") for k in range(8)]
    batch = processor(images=images, text=text, return_tensors="pt", padding=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        logits = model(**batch).logits[:, -2]
        loss = torch.nn.functional.cross_entropy(logits, batch["input_ids"][:, -1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    unread = {name for name, value in model.named_parameters() if value.grad is None}
    assert all("post_layernorm" in name for name in unread)
    said = vlm.Vlm(model, processor, "it").ask(images, ["is it red?"] * 8)
    assert [value > 0.5 for value in said.tolist()] == [bool(k % 2) for k in range(8)]
