"""Lower precisions of the networks that embed: near float32, told apart from it, and float32 unless one asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import panel
from datagen.judges.backbones import rows
from datagen.recipe import JudgeChoice

JURY: dict[str, dict[str, str]] = {
    "clip": {},
    "pickscore": {"weights": "embedded"},
    "hpsv2": {"weights": "embedded"},
    "imagereward": {"weights": "embedded"},
    "aesthetic_v1": {"weights": "embedded"},
    "attributes": {"model": "embedded"},
}
TEXTS = ("a chef with a red ball", "a wizard in a park, covered in splatter")


@pytest.fixture(autouse=True)
def fresh() -> None:
    judges._load_once.cache_clear()


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(5)]


def asked(name: str, **options: str) -> tuple[Any, Any]:
    (judge,) = panel.load([JudgeChoice(name=name, options=JURY[name] | options)])
    answers = panel.ask([judge], [panel.Question(picture, TEXTS) for picture in pictures()])
    return judge, np.stack([answer.scores[name] for answer in answers])


@pytest.mark.parametrize("name", JURY)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_scores_are_near_those_in_float32_and_their_versions_say_so(name: str, precision: str) -> None:
    whole, scores = asked(name)
    lower, near = asked(name, precision=precision)
    assert near == pytest.approx(scores, abs=0.03 * max(1.0, np.abs(scores).max())) and (near != scores).any()
    assert f":{precision}" in lower.version and precision not in whole.version
    if hasattr(whole.needs, "identity"):
        assert lower.needs.identity == f"{whole.needs.identity}:{precision}"


@pytest.mark.parametrize("name", JURY)
def test_float32_is_what_there_is_without_a_word(name: str) -> None:
    given, said = asked(name, precision="float32")
    plain, scores = asked(name)
    assert given.version == plain.version and (said == scores).all()


def test_a_precision_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelError, match="option precision is 'int8'"):
        judges.load("clip", {"precision": "int8"})


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_no_row_depends_on_its_company(precision: rows.Precision) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(24, 48), torch.nn.GELU(), torch.nn.Linear(48, 8)).eval()
    inputs = torch.randn(70, 24)
    whole = rows.embed(network, network, inputs, precision)
    alone = np.concatenate([rows.embed(network, network, inputs[place : place + 1], precision) for place in range(70)])
    assert whole.dtype == np.float32 and (whole == alone).all()
    assert (whole == rows.embed(network, network, inputs.flip(0), precision)[::-1]).all()


def test_several_inputs_go_through_together_and_the_last_batch_is_filled_up() -> None:
    torch.manual_seed(0)
    network, sizes = torch.nn.Linear(3, 2), []

    def encode(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        sizes.append((len(one), len(other)))
        return network(one) + other

    one, other = torch.randn(10, 3), torch.randn(10, 2)
    found = rows.batched(network, encode, one, other, size=4, precision="float32")
    assert sizes == [(4, 4)] * 3 and torch.allclose(found, network(one) + other, atol=1e-6)
