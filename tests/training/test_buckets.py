"""--aspect-ratio-buckets: pairs of any shape are trained at sizes near it, and a run goes on as one without a stop."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from training import data
from training.cache import latents
from training.data import buckets
from training.loop import batches
from training.loop.batches import Batches
from training.models import diffusion
from training.run import main
from training.settings.training import parse

CHILDREN = multiprocessing.get_context("forkserver")
Picture = Callable[..., bytes]
SIZES = [(64, 64)] * 3 + [(80, 48)] * 4 + [(60, 100)] * 2 + [(96, 96)]
WEIGHTS = "pytorch_lora_weights.safetensors"


@pytest.fixture
def shaped(tmp_path: Path, make_picture: Picture) -> Path:
    """Ten pairs of three shapes; the images of the last pair differ in shape."""
    rows = []
    for i, size in enumerate(SIZES):
        other = (120, 60) if i == len(SIZES) - 1 else size
        rows.append({"prompt": f"text {i}", "chosen": make_picture(2 * i, size)})
        rows[-1]["rejected"] = make_picture(2 * i + 1, other)
    folder = tmp_path / "pairs"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    return folder


def arguments(model: Path, dataset: Path, out: Path, steps: int, *more: str) -> list[str]:
    line = ["--data", str(dataset), "--model", str(model), "--out", str(out), "--steps", str(steps), "--batch", "3"]
    line += ["--method", "dpo", "--lora-rank", "2", "--lr", "1e-3", "--precision", "fp32", "--device", "cpu"]
    return [*line, "--resolution", "64", *more]


def test_pairs_of_any_shape_are_trained_and_what_is_cropped_is_said(
    shaped: Path, sd15_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(sd15_folder, shaped, tmp_path / "square", 2)) == 2
    assert "images of two sizes" in capsys.readouterr().err
    assert main(arguments(sd15_folder, shaped, tmp_path / "a", 12, "--aspect-ratio-buckets")) == 0
    said = capsys.readouterr().out
    assert "aspect-ratio buckets: 3 of 5 sizes, images in each: 64×64 (8), 80×48 (8), 48×80 (4)" in said
    assert "1 of 20 images are cropped to the shape of those that they are compared with" in said
    assert "note: 2 samples are in buckets with fewer than a step's 3: their batches hold some" in said
    assert json.loads((tmp_path / "a" / "training.json").read_text())["run"]["aspect_ratio_buckets"] is True


def test_a_run_that_goes_on_ends_as_one_that_had_all_steps_at_once(
    shaped: Path, sd15_folder: Path, tmp_path: Path
) -> None:
    for out, steps in (("whole", 8), ("parts", 3), ("parts", 8)):
        more = ["--aspect-ratio-buckets", "--micro-batch", "2" if out == "whole" else "0"]
        assert main(arguments(sd15_folder, shaped, tmp_path / out, steps, *more)) == 0
    one, other = (load_file(tmp_path / out / WEIGHTS) for out in ("whole", "parts"))
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-6)


def lines(out: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "pairs_per_second"} for line in read]


@pytest.mark.slow  # four processes
@pytest.mark.timeout(600)
def test_a_run_over_buckets_that_is_killed_ends_with_the_weights_of_one_that_was_not(
    shaped: Path, sd15_folder: Path, tmp_path: Path
) -> None:
    more = ["--aspect-ratio-buckets", "--checkpoint-every", "3", "--warmup", "0"]
    assert main(arguments(sd15_folder, shaped, tmp_path / "whole", 40, *more)) == 0
    out = tmp_path / "killed"
    line = arguments(sd15_folder, shaped, out, 40, *more)
    for least in (0, 8, 17):
        child = CHILDREN.Process(target=main, args=(line,))
        child.start()
        while child.is_alive() and not [it for it in out.glob("checkpoints/step-*") if int(it.name[5:]) > least]:
            time.sleep(0.002)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert not (out / "training.json").exists()
    assert main(line) == 0
    one, other = (load_file(tmp_path / it / WEIGHTS) for it in ("whole", "killed"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert lines(tmp_path / "whole") == lines(out)


def loading(model: diffusion.StableDiffusion, dataset: Path, folder: Path) -> tuple[Batches, data.Pairs, list[Any]]:
    settings = parse(arguments(Path(model.source), dataset, Path("x"), 8, "--aspect-ratio-buckets"))
    pairs = data.load(str(dataset), any_shape=True)
    shapes, _ = buckets.assign(pairs.images.sizes, batches.compared(pairs), buckets.shapes(64, 16))
    store = latents.open_or_build(model, pairs.images, pairs.prompts, resolution=64, shapes=shapes, folder=folder)
    return Batches(pairs, store, model, settings, shapes), pairs, shapes


def test_sdxl_is_told_size_crop_and_bucket(shaped: Path, sdxl_folder: Path, tmp_path: Path) -> None:
    loader, pairs, shapes = loading(diffusion.load(str(sdxl_folder)), shaped, tmp_path)
    seen = set()
    for step in range(12):
        rows, batch = loader.order.rows(step).tolist(), loader.get(step, range(3))
        (shape,) = {shapes[pairs.chosen[row]] for row in rows} | {shapes[pairs.rejected[row]] for row in rows}
        factor = shape[0] // batch.pairs.latents.shape[-2]
        assert tuple(batch.pairs.latents.shape[-2:]) == (shape[0] // factor, shape[1] // factor)
        assert batch.pairs.context.time_ids is not None
        for row, ids in zip(rows, batch.pairs.context.time_ids.tolist(), strict=True):
            assert ids == list(data.pictures.time_ids(*pairs.images.sizes[pairs.chosen[row]], shape))
        seen.add(shape)
    assert seen == set(shapes)


def test_latents_of_a_bucket_are_those_of_its_pictures_and_squares_share_the_plain_cache(
    shaped: Path, sd15_folder: Path, tmp_path: Path
) -> None:
    model = diffusion.load(str(sd15_folder))
    loader, pairs, shapes = loading(model, shaped, tmp_path)
    for row in (0, 8, 15, 19):
        picture = data.to_array(data.decode(pairs.images.bytes(row), "x"), shapes[row])
        with torch.no_grad():
            own = model.vae.encode(torch.from_numpy(picture)[None]).latent_dist
        mean, _ = loader.store.posterior(torch.tensor([row]))
        torch.testing.assert_close(mean, own.mean, rtol=1e-3, atol=1e-3)
    assert latents.image_space(model, (64, 64)) == latents.image_space(model, 64)
    assert len({latents.image_space(model, shape) for shape in [*set(shapes), (80, 64)]}) == 4


def test_what_shows_square_pictures_only_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--data", "x", "--out", "y", "--method", "clip_align", "--aspect-ratio-buckets"]
    assert main(line) == 2
    assert "--aspect-ratio-buckets: clip_align shows CLIP square pictures only" in capsys.readouterr().err
