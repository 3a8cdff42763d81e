"""Attributes by CLIP without training, as LiVO measures them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import heads
import numpy as np
import open_clip
import pytest
import torch

from datagen import judges
from datagen.errors import ModelError
from datagen.judges.backbones import open_clip as backbone


def load(folder: Path, **options: Any) -> Any:
    judges._load_once.cache_clear()
    backbone.find.cache_clear()
    return judges.load("attributes", {"model": str(folder), **options})


@pytest.mark.parametrize("attributes", ["gender", "race", ["red coat", "blue coat", "green coat", "none"]])
def test_is_the_softmax_of_open_clips_logits(attributes: Any, clip_folder: Path) -> None:
    judge = load(clip_folder, attributes=attributes)
    lists = {"gender": ["male", "female"], "race": ["white", "black", "indian", "asian", "latino"]}
    names = attributes if isinstance(attributes, list) else lists[attributes]
    assert judge.facts.categories == tuple(names)
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip_folder}")
    vectors, prompts = heads.embeddings(6, 32), ["a chef", "a pilot", "", "a chef", "x" * 300, "a nurse"]
    expected = []
    for vector, prompt in zip(vectors, prompts, strict=True):
        with torch.inference_mode():
            read = model.eval().encode_text(tokenizer([f"{prompt}, {name}" for name in names]), normalize=True)
            seen = torch.nn.functional.normalize(torch.from_numpy(vector), dim=0)
            expected.append((model.logit_scale.exp() * read @ seen).softmax(0).numpy())
    found = judge.score(vectors, prompts)
    assert found.shape == (6, len(names)) and found == pytest.approx(np.stack(expected), abs=1e-5)
    assert found.sum(1) == pytest.approx(1)


def test_a_score_does_not_depend_on_the_other_images(clip_folder: Path) -> None:
    judge, vectors = load(clip_folder), heads.embeddings(40, 32)
    prompts = [f"a person number {k % 7}" for k in range(40)]
    together = judge.score(vectors, prompts)
    alone = [judge.score(vectors[k : k + 1], [prompts[k]])[0] for k in range(40)]
    assert np.array_equal(together, np.array(alone))


BAD: dict[str, Any] = {
    "unknown": "is 'unknown': give gender or race, or a list of attributes",
    "": "give gender or race",
    ("one",): "at least 2",
    ("a", "a "): "each attribute may be given once",
    ("a", ""): "at least 1",
    3: "is 3",
}


@pytest.mark.parametrize("given", BAD)
def test_lists_that_are_none_are_refused_in_one_line(given: Any, clip_folder: Path) -> None:
    with pytest.raises(ModelError, match=f"the judge attributes: option attributes.*{BAD[given]}") as error:
        load(clip_folder, attributes=list(given) if isinstance(given, tuple) else given)
    assert "\n" not in str(error.value)
