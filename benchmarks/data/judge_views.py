"""Three judges over JPEGs: one decode, one resize and threads, against a decode and a processor call a judge.

`python -m benchmarks judge_views [IMAGES] [--rounds N]`. 1024-pixel JPEGs (quality 95, 4:2:0) and three tiny CLIPs
with random weights, which read pictures as PickScore, OpenAI's CLIP and ImageReward do. The usual way
opens the file anew
for each judge and calls the processor that its authors use. Texts are embedded beforehand on both sides. Scores are
compared before anything is timed. The limit is what the same threads need to decode and to resize alone: the pixels of
a picture have to be made, whatever else is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.support.interleaved import Rounds, abba
from benchmarks.support.results import Row, record
from datagen.images.ahead import prefetch
from datagen.images.decode import FORMATS
from datagen.judges import Facts, views
from datagen.judges import panel as ask
from datagen.judges.views import View

SIDE = 1024
DISTINCT = 32  # pictures; decoding one again costs as much as another
WIDTH = 64  # of the embeddings
MAX_DIFFERENCE = 1e-3  # of scores, which are cosines


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A judge: what it reads, its reference's own preprocessing, and a network with a text to compare with."""

    name: str
    needs: View
    usual: Callable[[Any], Any]  # picture → (3, H, W)
    network: Any
    text: Any
    version = "1"
    scale = 1.0
    facts = Facts(code_license="Apache-2.0", reads_text=False)

    def score(self, images: Sequence[Any], prompts: Sequence[str]) -> np.ndarray[Any, Any]:
        """(N,) cosines."""
        return self.cosines(views.normalise(images, self.needs))

    def cosines(self, pixels: Any) -> np.ndarray[Any, Any]:
        """(N,) of (N, 3, H, W) float32."""
        import torch

        with torch.inference_mode():
            embedded = self.network(pixel_values=torch.as_tensor(pixels)).image_embeds
        found: np.ndarray[Any, Any] = torch.nn.functional.cosine_similarity(embedded, self.text).numpy()
        return found


def judges() -> list[Tiny]:
    """Three of them with random weights, each with a preprocessing of its own."""
    import torch
    from open_clip.transform import image_transform
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

    hugging_face, torchvision = CLIPImageProcessorPil(), image_transform(224, is_train=False)
    usual: list[tuple[str, View, Callable[[Any], Any]]] = [
        ("pickscore", views.clip_hf(), lambda image: hugging_face(image, return_tensors="pt")["pixel_values"][0]),
        ("clip", views.clip_torchvision(), torchvision),
        ("imagereward", views.clip_torchvision(), torchvision),
    ]
    found = []
    for seed, (name, view, preprocess) in enumerate(usual):
        torch.manual_seed(seed)
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = CLIPVisionConfig(**shape, patch_size=32, projection_dim=WIDTH)
        network = CLIPVisionModelWithProjection(config).eval()
        found.append(Tiny(name, view, preprocess, network, torch.randn(1, WIDTH)))
    return found


def pictures(count: int) -> list[bytes]:
    """JPEGs with the spectrum of photographs, 1/f, and a little noise."""
    from PIL import Image

    rng, made = np.random.default_rng(0), []
    frequency = np.hypot(np.fft.fftfreq(2 * SIDE)[:, None], np.fft.rfftfreq(2 * SIDE)[None])
    frequency[0, 0] = 1
    field = np.stack([np.fft.irfft2(np.fft.rfft2(rng.standard_normal((2 * SIDE,) * 2)) / frequency**1.2)] * 3, -1)
    field += np.stack(
        [np.fft.irfft2(np.fft.rfft2(rng.standard_normal((2 * SIDE,) * 2)) / frequency**1.4) for _ in range(3)], -1
    )
    field = 120 + 45 * (field - field.mean()) / field.std() + rng.normal(0, 1.5, field.shape)
    field = field.clip(0, 255).astype(np.uint8)
    for _ in range(count):
        top, left = rng.integers(0, SIDE, 2)
        file = io.BytesIO()
        Image.fromarray(field[top : top + SIDE, left : left + SIDE]).save(file, "JPEG", quality=95)
        made.append(file.getvalue())
    return made


def the_usual_way(panel: Sequence[Tiny], files: Sequence[bytes]) -> np.ndarray[Any, Any]:
    """(judges, images): each judge opens and preprocesses every image for itself."""
    import torch
    from PIL import Image

    scores = []
    for judge in panel:
        parts = []
        for chunk in ask.chunks(files):
            images = [Image.open(io.BytesIO(data), formats=FORMATS).convert("RGB") for data in chunk]
            parts.append(judge.cosines(torch.stack([judge.usual(image) for image in images])))
        scores.append(np.concatenate(parts))
    return np.stack(scores)


def our_way(panel: Sequence[Tiny], files: Sequence[bytes], fast: bool) -> np.ndarray[Any, Any]:
    """(judges, images), as `datagen judge` and a run have it."""
    questions = ask.chunks(ask.Question(data, ("",)) for data in files)
    answers = [answer for chunk in ask.stream(panel, questions, fast=fast) for answer in chunk]
    return np.array([[answer.scores[judge.name].item() for answer in answers] for judge in panel])


def pixels_alone(panel: Sequence[Tiny], files: Sequence[bytes], fast: bool) -> None:
    """The limit: as many threads that decode and resize once, and no judge."""
    for _ in prefetch(
        functools.partial(_pixels, at_least=views.enough(judge.needs for judge in panel) if fast else None), files, 64
    ):
        pass


def _pixels(data: bytes, at_least: int | None) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if at_least:
            image.draft(None, (at_least, at_least))
        return np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC))


def main() -> int:
    """Print and record the figures; 1 if a goal is missed or scores differ."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m benchmarks judge_views", description=__doc__, allow_abbrev=False)
    parser.add_argument("images", nargs="?", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)  # the other processors decode
    panel, distinct = judges(), pictures(min(DISTINCT, given.images))
    files = [distinct[k % len(distinct)] for k in range(given.images)]
    usual = the_usual_way(panel, distinct)
    rows = []
    for fast, goal in ((False, "≥ 2.5"), (True, "≥ 6")):
        mode = "fast" if fast else "exact"
        difference = float(np.abs(our_way(panel, distinct, fast) - usual).max())
        rows.append(Row(f"{mode}: greatest difference of a score", difference, "", f"≤ {MAX_DIFFERENCE}"))
        few = files[: max(32, given.images // 8)]  # of the usual way, which is slow
        against = abba(lambda: the_usual_way(panel, few), lambda: our_way(panel, few, fast), given.rounds)  # noqa: B023
        rows.append(Row(f"{mode}: usual way / ours", against.ratio(), "×", goal, against.spread()))
        limit = abba(lambda: pixels_alone(panel, files, fast), lambda: our_way(panel, files, fast), given.rounds)  # noqa: B023
        rows += _of_the_limit(mode, limit, len(files))
    for row in rows:
        print(f"{row.what}: {row.figure:.4g}{row.unit} {row.goal} ({row.spread})")
    record("judge_views", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


def _of_the_limit(mode: str, limit: Rounds, count: int) -> list[Row]:
    return [
        Row(f"{mode}: images a second", count / limit.seconds(1), "images/s"),
        Row(f"{mode}: of the rate of decoding and resizing alone", 100 * limit.ratio(), "%", "≥ 90", limit.spread()),
        Row(
            f"{mode}: of that rate by CPU time", 100 * limit.ratio(cpu=True), "%", spread=limit.spread(cpu=True),
            note="what stands on a shared machine",
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
