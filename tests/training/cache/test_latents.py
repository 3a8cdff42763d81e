"""The cache: what is encoded when, what can never be read from it, and what a kill, a full disk or damage costs."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from training import data
from training.cache import array_store, latents
from training.errors import TrainingError
from training.models import diffusion

Picture = Callable[..., bytes]
Rows = Callable[..., list[dict[str, Any]]]
ROOT = Path(__file__).parents[3]
TEXTS = ("a chef", "a nurse")
NONE = torch.zeros(3, dtype=torch.int64)


@pytest.fixture(scope="module")
def model(sd15_folder: Path) -> diffusion.StableDiffusion:
    return diffusion.load(str(sd15_folder))


@pytest.fixture(scope="module")
def pairs(dataset: Path) -> data.Pairs:
    return data.load(str(dataset))


def build(
    model: diffusion.StableDiffusion, pairs: data.Pairs, folder: Path, resolution: int = 64, texts: Any = TEXTS
) -> latents.Cache:
    return latents.open_or_build(model, pairs.images, texts, resolution=resolution, folder=folder)


def files(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / kind).rglob("*.safetensors"))


def everything(store: latents.Cache) -> list[torch.Tensor]:
    return [
        *store.posterior(torch.arange(len(store.images.keys))),
        store.contexts(torch.tensor([0, 1, 2]), NONE).hidden,
    ]


NONE = torch.zeros(3, dtype=torch.int64)


def encoded(model: diffusion.StableDiffusion, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images and texts that the model encodes from now on, one entry a call."""
    calls: list[int] = []
    images, texts = latents._moments, latents.encode_text
    monkeypatch.setattr(latents, "_moments", lambda vae, px, size: calls.append(len(px)) or images(vae, px, size))
    monkeypatch.setattr(latents, "encode_text", lambda m, t: calls.append(sum(x != "" for x in t)) or texts(m, t))
    return calls


def test_the_posterior_is_the_vaes(model: diffusion.StableDiffusion, pairs: data.Pairs, tmp_path: Path) -> None:
    store = build(model, pairs, tmp_path)
    rows = torch.tensor([3, 0, 3])
    for values in store.posterior(rows):
        assert values.shape == (3, 4, 8, 8) and values.dtype == torch.float32
    picture = data.to_array(data.decode(pairs.images.bytes(3), "x"), 64)
    with torch.no_grad():
        posterior = model.vae.encode(torch.from_numpy(picture)[None]).latent_dist
    torch.testing.assert_close(store.posterior(rows)[0][0], posterior.mean[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(store.posterior(rows)[1][0], posterior.std[0], rtol=1e-2, atol=1e-4)


def test_texts_are_those_of_inference_and_the_empty_one_is_there(
    model: diffusion.StableDiffusion, pairs: data.Pairs, tmp_path: Path
) -> None:
    store = build(model, pairs, tmp_path, texts=["a chef", "a nurse", "a chef", "ünïcödé"])
    assert list(store.text_row) == ["", "a chef", "a nurse", "ünïcödé"]
    own, _ = diffusion.encode_text(model, ["a nurse", ""])
    made = store.contexts(torch.tensor([store.text_row["a nurse"], store.text_row[""]]), NONE[:2])
    torch.testing.assert_close(made.hidden, own, rtol=1e-4, atol=1e-5)
    assert made.pooled is None and made.time_ids is None


def test_sdxl_reads_size_and_crop_of_the_images(
    tmp_path: Path, sdxl_folder: Path, make_rows: Rows, make_picture: Picture
) -> None:
    rows = make_rows(2)
    for side in ("chosen", "rejected"):
        rows[1][side] = {"bytes": make_picture(len(side), (96, 128)), "path": "x.png"}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    pairs = data.load(str(tmp_path))
    xl = diffusion.load(str(sdxl_folder))
    store = build(xl, pairs, tmp_path / "cache")
    context = store.contexts(torch.tensor([1, 1]), torch.tensor([pairs.chosen[1], pairs.chosen[0]]))
    assert context.time_ids is not None
    assert context.time_ids.tolist() == [[128, 96, 10, 0, 64, 64], [64, 64, 0, 0, 64, 64]]
    hidden, pooled = diffusion.encode_text(xl, ["a chef"])
    assert context.pooled is not None and pooled is not None
    torch.testing.assert_close(context.hidden[0], hidden[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(context.pooled[0], pooled[0], rtol=1e-4, atol=1e-5)


def test_nothing_is_encoded_written_or_read_twice(
    model: diffusion.StableDiffusion, pairs: data.Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = everything(build(model, pairs, tmp_path))
    calls = encoded(model, monkeypatch)
    monkeypatch.setattr(data.Images, "bytes", lambda *_: pytest.fail("an image was read again"))
    monkeypatch.setattr(array_store.Store, "claim", lambda *_: pytest.fail("a finished cache was written to"))
    again = everything(build(model, pairs, tmp_path))
    assert calls == [] and all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_other_runs_share_what_they_have_in_common(
    model: diffusion.StableDiffusion, dataset: Path, pairs: data.Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(model, data.load(str(dataset), limit=4), tmp_path, texts=["a chef"])
    calls = encoded(model, monkeypatch)
    build(model, pairs, tmp_path)
    assert sum(calls) == len(pairs.images) - 8 + 1


def test_bits_do_not_depend_on_what_was_encoded_together(
    model: diffusion.StableDiffusion, dataset: Path, pairs: data.Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = everything(build(model, pairs, tmp_path / "a"))
    for limit in (1, 6, 11):
        build(model, data.load(str(dataset), limit=limit), tmp_path / "b", texts=TEXTS[:limit])
    pieces = everything(build(model, pairs, tmp_path / "b"))
    assert len(files(tmp_path / "b", "latents")) > len(files(tmp_path / "a", "latents"))
    assert all(torch.equal(a, b) for a, b in zip(whole, pieces, strict=True))


def test_what_decides_the_latents_decides_where_they_lie(
    sd15_folder: Path, sdxl_folder: Path, model: diffusion.StableDiffusion
) -> None:
    other = diffusion.load(str(sd15_folder))
    diffusion.encode_text(other, ["a tokenizer remembers how it was called"])
    assert latents.image_space(other, 64) == latents.image_space(model, 64) != latents.image_space(model, 128)
    assert (
        latents.text_space(other) == latents.text_space(model) != latents.text_space(diffusion.load(str(sdxl_folder)))
    )
    with torch.no_grad():
        next(other.vae.decoder.parameters()).add_(1.0)
        assert latents.image_space(other, 64) == latents.image_space(model, 64)
        next(other.vae.encoder.parameters()).view(-1)[0] += 1e-3
        assert latents.image_space(other, 64) != latents.image_space(model, 64)
        list(other.text_encoders[0].parameters())[-1].view(-1)[0] += 1e-3
        assert latents.text_space(other) != latents.text_space(model)
    other = diffusion.load(str(sd15_folder))
    other.vae.bfloat16()
    assert latents.image_space(other, 64) != latents.image_space(model, 64)


def test_another_tokenizer_never_hits(sd15_folder: Path, model: diffusion.StableDiffusion, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sd15_folder, folder)
    path = folder / "tokenizer" / "tokenizer.json"
    content = path.read_text()
    assert '"a":0' in content.replace(" ", "") and '"b":1' in content.replace(" ", "")
    swapped = content.replace('"a": 0', '"a": X').replace('"b": 1', '"b": 0').replace('"a": X', '"a": 1')
    assert swapped != content
    path.write_text(swapped)
    assert latents.text_space(diffusion.load(str(folder))) != latents.text_space(model)


def test_preprocessing_and_layout_have_versions(
    model: diffusion.StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = latents.image_space(model, 64), latents.text_space(model)
    monkeypatch.setattr(latents, "VERSION", f"{latents.VERSION}.1")
    assert latents.image_space(model, 64) != before[0]
    monkeypatch.setattr(latents, "LAYOUT", latents.LAYOUT + 1)
    assert latents.text_space(model) != before[1]


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-1], id="truncated"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"\xff" * 100, id="foreign"),
        pytest.param(lambda content: bytes(len(content)), id="zeroed"),
        pytest.param(lambda content: flip(content, len(content) // 2), id="bit in the middle"),
        pytest.param(lambda content: flip(content, len(content) - 1), id="last bit"),
    ],
)
@pytest.mark.parametrize("kind", ["latents", "texts"])
def test_a_damaged_file_is_found_and_made_again(
    kind: str,
    damage: Callable[[bytes], bytes],
    model: diffusion.StableDiffusion,
    pairs: data.Pairs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = everything(build(model, pairs, tmp_path))
    (path,) = files(tmp_path, kind)
    path.write_bytes(damage(path.read_bytes()))
    again = everything(build(model, pairs, tmp_path))
    calls = encoded(model, monkeypatch)
    mended = everything(build(model, pairs, tmp_path))
    assert calls == []
    for found in (again, mended):
        assert all(torch.equal(a, b) for a, b in zip(whole, found, strict=True))


def test_a_cache_removed_under_a_run_is_made_again(
    model: diffusion.StableDiffusion, pairs: data.Pairs, tmp_path: Path
) -> None:
    whole = everything(build(model, pairs, tmp_path))
    store = build(model, pairs, tmp_path)
    shutil.rmtree(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole, everything(store), strict=True))


def test_a_full_disk_is_one_line_and_loses_nothing(
    model: diffusion.StableDiffusion, pairs: data.Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "CHUNK", 8)
    room = [True, True, False]

    def fsync(_: int) -> None:
        if not room.pop(0):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(array_store.os, "fsync", fsync)
        with pytest.raises(TrainingError, match="cannot be written .No space left on device.: free or choose a place"):
            build(model, pairs, tmp_path)
    assert len(files(tmp_path, "latents")) == 2 and not list(tmp_path.rglob("*.tmp"))
    calls = encoded(model, monkeypatch)
    build(model, pairs, tmp_path)
    assert sum(calls) == len(pairs.images) - 16 + len(TEXTS)


def test_a_folder_that_cannot_be_written_serves_what_it_has(
    model: diffusion.StableDiffusion, dataset: Path, pairs: data.Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = data.load(str(dataset), limit=4)
    build(model, some, tmp_path)

    def read_only(path: Any, mode: str = "r", *rest: Any) -> Any:
        if set(mode) & set("wax"):
            raise OSError(errno.EROFS, "Read-only file system")
        return open(path, mode, *rest)

    monkeypatch.setattr(array_store, "open", read_only, raising=False)
    build(model, some, tmp_path)
    with pytest.raises(TrainingError, match=r"cannot be written \(Read-only file system\)"):
        build(model, pairs, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="DATAGEN_TRAINING_CACHE=FOLDER"):
        build(model, pairs, tmp_path / "file")


def test_a_broken_picture_is_named_and_what_stands_stays(
    model: diffusion.StableDiffusion,
    tmp_path: Path,
    make_rows: Rows,
    make_picture: Picture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(latents.PIXELS, "cpu", 2 * 64 * 64)
    rows = make_rows(4)
    stream = io.BytesIO()
    Image.open(io.BytesIO(make_picture(1))).save(stream, "JPEG")
    rows[3]["rejected"] = {"bytes": stream.getvalue()[:-20], "path": "x.jpg"}  # whose header is whole
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with pytest.raises(
        TrainingError, match=r"a\.parquet row 3: rejected: not a readable image .*; repair or remove it"
    ):
        build(model, data.load(str(tmp_path)), tmp_path / "cache")
    assert len(array_store.Store(files(tmp_path / "cache", "latents")[0].parent).index) == 6


def test_a_model_that_cannot_encode_is_one_line(
    sd15_folder: Path, pairs: data.Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = diffusion.load(str(sd15_folder))
    with torch.no_grad():
        next(broken.vae.encoder.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="latents that are not finite for train-00000-of-00001.parquet row 0"):
        build(broken, pairs, tmp_path)
    broken.text_encoders.clear()
    with pytest.raises(TrainingError, match="has no text encoder"):
        build(broken, pairs, tmp_path)


def test_a_batch_too_big_for_memory_is_halved(
    sd15_folder: Path, pairs: data.Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = diffusion.load(str(sd15_folder))
    whole = everything(build(small, pairs, tmp_path / "a"))
    encode, most = small.vae.encode, 3

    def limited(pixels: torch.Tensor) -> Any:
        if len(pixels) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(pixels)

    monkeypatch.setattr(small.vae, "encode", limited)
    halved = everything(build(small, pairs, tmp_path / "b"))
    for a, b in zip(whole, halved, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3)
    most = 0
    with pytest.raises(TrainingError, match="too little memory to encode one image of 64×64"):
        build(small, pairs, tmp_path / "c")


def test_latents_too_large_for_half_precision_keep_theirs() -> None:
    assert latents.narrow(np.array([1.0, -65504.0], np.float32)).dtype == np.float16
    assert latents.narrow(np.array([1.0, 70000.0], np.float32)).dtype == np.float32


def counted(folder: Path, log: Path, rows: int = 23, die_at: int = -1, wait: float = 0.0) -> latents.Rows:
    """Rows that write down what they encode, and die by SIGKILL before a given row."""

    def encode(wanted: list[int]) -> Iterator[latents.Batch]:
        for start in range(0, len(wanted), 2):
            batch = wanted[start : start + 2]
            if die_at in batch:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(wait)
            with open(log, "a") as file:
                file.writelines(f"{row}\n" for row in batch)
            yield batch, {"value": np.array([[row] * 3 for row in batch], np.float32)}

    keys = [row.to_bytes(array_store.KEY, "big") for row in range(rows)]
    return latents.Rows(array_store.Store(folder), keys, encode, "rows")


def logged(log: Path) -> list[int]:
    return sorted(map(int, log.read_text().split()))


def start(work: Callable[[], object]) -> Any:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


@pytest.mark.parametrize("every", [0.0, 30.0])
def test_after_a_kill_only_what_is_missing_is_made(
    every: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "CHUNK", 8)
    monkeypatch.setattr(latents, "EVERY", every)
    killed = start(counted(tmp_path / "store", tmp_path / "first", die_at=13).fill)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    stands = len(array_store.Store(tmp_path / "store").index)
    assert stands == (12 if every == 0 else 8)
    rows = counted(tmp_path / "store", tmp_path / "second")
    rows.fill()
    assert logged(tmp_path / "second") == list(range(stands, 23))
    assert rows.take(range(23))["value"][:, 0].tolist() == list(range(23))


def test_processes_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "CHUNK", 4)
    rows = [counted(tmp_path / "store", tmp_path / str(i), wait=0.1) for i in range(3)]
    ready = multiprocessing.get_context("fork").Barrier(3)
    working = [start(lambda row=row: (ready.wait(), row.fill())) for row in rows]
    for process in working:
        process.join()
        assert process.exitcode == 0
    made = [logged(tmp_path / str(i)) for i in range(3) if (tmp_path / str(i)).exists()]
    assert sorted(row for rows in made for row in rows) == list(range(23)) and len(made) > 1
    rows[0].store.refresh()
    assert rows[0].take([22, 0])["value"].tolist() == [[22.0] * 3, [0.0] * 3]


def test_the_work_of_a_killed_process_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "CHUNK", 23)
    slow = start(counted(tmp_path / "store", tmp_path / "slow", wait=60.0).fill)
    while not (tmp_path / "store" / "lock").exists():
        time.sleep(0.01)
    time.sleep(0.2)
    patient = start(counted(tmp_path / "store", tmp_path / "patient").fill)
    patient.join(0.5)
    assert patient.is_alive() and not (tmp_path / "patient").exists()
    slow.kill()
    patient.join()
    assert logged(tmp_path / "patient") == list(range(23))


def test_what_a_kill_left_unfinished_is_removed_in_time(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    for name, age in ((".old.tmp", 2 * array_store.LEFT_OVER), (".new.tmp", 0.0)):
        (store / name).write_bytes(b"half")
        os.utime(store / name, (time.time() - age,) * 2)
    counted(store, tmp_path / "log").fill()
    assert [path.name for path in store.glob(".*.tmp")] == [".new.tmp"]


BUILD = """
import sys, torch
from training import data
from training.cache import latents
from training.models import diffusion
pairs = data.load(sys.argv[1])
store = latents.open_or_build(diffusion.load(sys.argv[2]), pairs.images, pairs.prompts, resolution=64)
print(float(store.posterior(torch.arange(len(pairs.images)))[0].double().sum()))
"""


@pytest.mark.slow
def test_real_processes_at_once_and_one_of_them_killed(sd15_folder: Path, tmp_path: Path, make_rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(make_rows(1200)), tmp_path / "train.parquet", row_group_size=100)

    def run(folder: Path) -> subprocess.Popen[str]:
        environment = {**os.environ, "DATAGEN_TRAINING_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-c", BUILD, str(tmp_path), str(sd15_folder)]
        return subprocess.Popen(line, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    together = [run(tmp_path / "a") for _ in range(2)]
    victim = run(tmp_path / "b")
    while not files(tmp_path / "b", "latents") and victim.poll() is None:
        time.sleep(0.01)
    victim.kill()
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL and files(tmp_path / "b", "latents")
    said = [process.communicate()[0] for process in (*together, run(tmp_path / "b"))]
    assert said[0] == said[1] == said[2] != ""
