"""Keywords at word bounds, embeddings with an explicit none, a language model whose nonsense means none."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from misfits import Change, prefixed, rewrite, without

from datagen.errors import ModelError
from training.errors import TrainingError
from training.inference.principles import Principle
from training.inference.retriever import (
    Choice,
    Embeddings,
    Keywords,
    LanguageModel,
    pipeline_encoder,
    sentence_encoder,
)

NUDITY = Principle("nudity considered inappropriate", ("nude", "sex", "no clothes"), ("a nude adult",))
BLOOD = Principle("bloody considered inappropriate", ("blood", "bloody"), ("covered in blood",))
BOTH = [NUDITY, BLOOD]


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a NUDE on a sofa", [("nudity considered inappropriate", 1.0, "'nude'")]),
        ("with no\n clothes, sex.", [("nudity considered inappropriate", 2.0, "'sex', 'no clothes'")]),
        ("Essex, with a bloodhound and a sextant", []),
        ("a cat on grass", []),
        ("bloody blood and a nude", [("bloody considered inappropriate", 2.0, "'blood', 'bloody'")]),
    ],
)
def test_keywords_are_words(prompt: str, found: list[tuple[str, float, str]]) -> None:
    assert Keywords(BOTH)([prompt]) == [tuple(Choice(*choice) for choice in found)]


def test_several_principles_where_they_are_wanted() -> None:
    [choices] = Keywords(BOTH, at_most=3)(["a nude in blood"])
    assert [c.principle for c in choices] == [NUDITY.statement, BLOOD.statement]
    assert Keywords(BOTH)([]) == []


def letters(texts: Sequence[str]) -> torch.Tensor:
    """Stands in for a sentence encoder: how often each word of a small vocabulary occurs, and a large common part."""
    words = ("nude", "adult", "blood", "covered", "cat", "grass", "lake")
    return torch.tensor([[10.0, *(float(t.split().count(w)) for w in words)] for t in texts])


def test_embeddings_choose_the_nearest_or_none() -> None:
    retrieve = Embeddings(BOTH, letters, background=["a cat on grass", "a lake"])
    nude, blood, none = retrieve(["a nude dancer", "a knight in blood", "cat by a lake"])
    assert [c.principle for c in nude] == [NUDITY.statement] and nude[0].score > 0.05
    assert [c.principle for c in blood] == [BLOOD.statement]
    assert none == ()
    assert Embeddings(BOTH, letters, threshold=1.9)(["a nude dancer"]) == [()]
    [two] = Embeddings(BOTH, letters, at_most=2)(["a nude in blood"])
    assert {c.principle for c in two} == {NUDITY.statement, BLOOD.statement}


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_the_pipelines_own_encoder(family: str, request: pytest.FixtureRequest) -> None:
    import diffusers

    kind: Any = diffusers.DiffusionPipeline
    pipe = kind.from_pretrained(request.getfixturevalue(f"{family}_folder"))
    vectors = pipeline_encoder(pipe)(["a nude adult", "b"])
    assert vectors.shape == (2, 32 if family == "sd15" else 48)
    [choices] = Embeddings(BOTH, pipeline_encoder(pipe))(["a nude adult"])
    assert choices[0].principle == NUDITY.statement


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """A BERT of three layers in the layout of sentence-transformers."""
    from transformers import BertConfig, BertModel, BertTokenizer

    torch.manual_seed(0)
    folder = tmp_path / "sentences"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "nude", "adult", "cat", "blood", "covered", "in"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer: Any = BertTokenizer(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_a_sentence_transformers_folder_is_pooled_by_its_mean(sentences: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    encode = sentence_encoder(sentences)
    both = encode(["a nude adult", "a cat covered in blood"])
    words = AutoTokenizer.from_pretrained(sentences)("a nude adult", return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(sentences).eval()(**words).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(both[:1], expected, rtol=1e-4, atol=1e-5)
    (sentences / "1_Pooling").mkdir()
    (sentences / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": false}')
    with pytest.raises(TrainingError, match="does not pool by the mean"):
        sentence_encoder(sentences)
    with pytest.raises(ModelError, match="has no folder nothing"):
        sentence_encoder(sentences / "nothing")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("layer.1."), "missing (encoder.layer.1"),
        (prefixed("x."), "missing ("),
        (lambda tensors: tensors | {"surplus": torch.zeros(1)}, "1 unexpected (surplus)"),
        (lambda tensors: {n: v * torch.nan for n, v in tensors.items()}, "NaN"),
    ],
)
def test_sentence_weights_that_do_not_fit_are_refused(change: Change, words: str, sentences: Path) -> None:
    rewrite(sentences, change)
    with pytest.raises(ModelError) as caught:
        sentence_encoder(sentences)
    assert words in str(caught.value)


def test_heads_that_no_hidden_state_is_read_from_make_no_difference(sentences: Path) -> None:
    before = sentence_encoder(sentences)(["a nude adult"])
    rewrite(sentences, lambda tensors: without("pooler")(tensors) | {"cls.predictions.bias": torch.zeros(3)})
    assert torch.equal(sentence_encoder(sentences)(["a nude adult"]), before)


class Stub(http.server.BaseHTTPRequestHandler):
    """An OpenAI-compatible server that replies what the test has put into `replies` for a prompt."""

    replies: dict[str, str | None] = {}
    asked: list[str] = []

    def do_POST(self) -> None:
        words = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
        prompt = json.loads(words[-1]["content"])
        self.asked.append(prompt)
        message = {"role": "assistant", "content": self.replies[prompt], "refusal": None}
        body = json.dumps(
            {"id": "1", "object": "chat.completion", "created": 1, "model": "stub",
             "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
        ).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Stub, "replies", {})
    monkeypatch.setattr(Stub, "asked", [])
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}/v1"
    made.shutdown()
    made.server_close()


def test_a_language_model_names_principles_by_number(server: str) -> None:
    Stub.replies = {
        "a nude": '{"principles": [{"number": 1, "score": 0.9}]}',
        "war": 'Sure! {"principles": [{"number": 1, "score": 0.2}, {"number": 2, "score": 0.8}]} Anything else?',
        "a cat": '{"principles": []}',
    }
    retrieve = LanguageModel(BOTH, "stub", base_url=server)
    nude, war, cat, again = retrieve(["a nude", "war", "a cat", "a nude"])
    assert nude == again == (Choice(NUDITY.statement, 0.9, "stub"),)
    assert war == (Choice(BLOOD.statement, 0.8, "stub"),)
    assert cat == ()
    assert sorted(Stub.asked) == ["a cat", "a nude", "war"]
    [two] = LanguageModel(BOTH, "stub", base_url=server, at_most=2)(["war"])
    assert [c.principle for c in two] == [BLOOD.statement, NUDITY.statement]


NONSENSE = [
    None,
    "",
    "I cannot help with that.",
    "not applicable",
    '{"principles": [{"number": 3, "score": 1}]}',
    '{"principles": [{"number": 0, "score": 1}]}',
    '{"principles": [{"number": true, "score": 1}]}',
    '{"principles": [{"number": 1, "score": 7}]}',
    '{"principles": [{"number": 1, "score": NaN}]}',
    '{"principles": [{"number": [1], "score": 1}]}',
    '{"principles": "nudity considered inappropriate"}',
    '{"principles": 1}',
    '[{"number": 1}]',
    '{"principles": [{"number": 1}',
]


def test_refusals_and_nonsense_mean_none(server: str) -> None:
    Stub.replies = {str(n): reply for n, reply in enumerate(NONSENSE)}
    assert LanguageModel(BOTH, "stub", base_url=server)(list(Stub.replies)) == [()] * len(NONSENSE)


def test_a_dead_server_and_a_missing_key_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(TrainingError, match="no OPENAI_API_KEY"):
        LanguageModel(BOTH, "m")
    retrieve = LanguageModel(BOTH, "m", base_url="http://127.0.0.1:9/v1")
    retrieve.client = retrieve.client.with_options(max_retries=0)
    with pytest.raises(TrainingError, match=r"http://127.0.0.1:9/v1/? does not answer"):
        retrieve(["a"])
