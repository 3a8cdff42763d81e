from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import clip


def choice(model: object) -> Any:
    return SimpleNamespace(clip_model=str(model))


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_local_folder_loads_and_scores_as_open_clip_does(clip_folder: Path) -> None:
    import open_clip
    import torch

    images, prompts = [picture(0), picture(1, (96, 48))], ["a chef", "a wizard in the park"]
    scores = judges.load("clip", choice(clip_folder)).score(images, prompts)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{clip_folder}")(prompts)
    with torch.no_grad():
        pictures = model.eval().encode_image(torch.stack([preprocess(image) for image in images]), normalize=True)
        texts = model.encode_text(tokens, normalize=True)
    assert scores == pytest.approx((pictures * texts).sum(1).numpy(), abs=1e-5)
    assert scores.dtype == np.float64 and scores.shape == (2,)


def test_a_score_does_not_depend_on_its_company(clip_folder: Path) -> None:
    images, prompts = [picture(k) for k in range(clip.BATCH + 5)], [f"prompt {k}" for k in range(clip.BATCH + 5)]
    together = judges.load("clip", choice(clip_folder)).score(images, prompts)
    clip._load.cache_clear()  # or the texts would be remembered
    judge = judges.load("clip", choice(clip_folder))
    alone = [judge.score([images[k]], [prompts[k]])[0] for k in (0, 7, clip.BATCH, clip.BATCH + 4)]
    assert alone == [together[k] for k in (0, 7, clip.BATCH, clip.BATCH + 4)]


def test_images_are_embedded_once_and_texts_once_a_process(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = clip.load(choice(clip_folder))
    judge._texts.clear()
    seen: list[int] = []
    embed = judge._embed
    monkeypatch.setattr(judge, "_embed", lambda encode, inputs: (seen.append(len(inputs)), embed(encode, inputs))[1])
    one, two = picture(0), picture(1)
    judge.score([one, two, one, two], ["a", "a", "b", "b"])
    judge.score([one], ["b"])
    assert seen == [2, 2, 1]


def test_remembering_texts_is_bounded(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = clip.load(choice(clip_folder))
    judge._texts.clear()
    monkeypatch.setattr(clip, "_REMEMBERED", 3)
    first = judge.score([picture(0)], ["text 0"])[0]
    for k in range(1, 6):
        judge.score([picture(0)], [f"text {k}"])
    assert len(judge._texts) <= 3
    assert judge.score([picture(0)], ["text 0"])[0] == first


def test_no_images_no_scores(clip_folder: Path) -> None:
    assert judges.load("clip", choice(clip_folder)).score([], []).shape == (0,)


def test_scale_and_version_say_which_model(clip_folder: Path) -> None:
    assert judges.scale("clip", choice("embedded")) == clip.SCALE["embedded"]
    assert judges.scale("clip", choice("ViT-L-14-quickgelu/openai")) == clip.SCALE["real"]
    judge = judges.load("clip", choice(clip_folder))
    assert judge.version.startswith(f"{clip.VERSION}:clip@")
    assert judge.scale == clip.SCALE["real"] and not judge.absolute


@pytest.mark.parametrize("model", ["ViT-L-14/openia", "nonsense"])
def test_an_unknown_model_is_told_with_the_nearest(model: str) -> None:
    with pytest.raises(ModelError, match=r"no CLIP model is called .* such as ViT-L-14") as caught:
        judges.load("clip", choice(model))
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_or_with_damaged_ones(clip_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(clip_folder, tmp_path / "damaged"))
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="does not load"):
        judges.load("clip", choice(folder))
    weights.unlink()
    with pytest.raises(ModelError, match="it has no open_clip_model.safetensors"):
        judges.load("clip", choice(folder))


def test_the_activation_of_the_weights_is_not_silently_another(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    def warn(*args: Any, **kwargs: Any) -> Any:
        import warnings

        warnings.warn("QuickGELU mismatch between final model config and pretrained tag", UserWarning, stacklevel=1)

    monkeypatch.setattr(open_clip, "create_model_and_transforms", warn)
    with pytest.raises(ModelError, match="QuickGELU .* name the architecture with -quickgelu"):
        judges.load("clip", choice("ViT-L-14/openai"))


def test_the_embedded_model_prefers_the_right_text() -> None:
    import random

    from datagen.world import captions, grammar, render

    rng = random.Random(0)
    scenes = [grammar.sample_scene(rng, {"place": place}) for place in ("beach", "city", "ruins")]
    images = [render.render(scene) for scene in scenes]
    texts = [captions.caption(scene, ("occupation", "place", "coat"), rng) for scene in scenes]
    judge = judges.load("clip", choice("embedded"))
    table = np.array([judge.score([image] * 3, texts) for image in images])
    assert (table.argmax(1) == np.arange(3)).all()
