"""What never changes while training: VAE latents (mean and log-variance) and text embeddings, computed once.

They lie memory-mapped in a folder that all runs share, under everything that they depend on: the encoders' weights,
resolution, preprocessing, an image's bytes, a text. Posterior sampling stays random: the distribution is kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datagen.images.ahead import prefetch, threads
from training.cache.array_store import KEY, Damaged, Store
from training.data.buckets import Shape
from training.data.images import Images
from training.data.index import folder_of_caches, undecodable
from training.data.pictures import VERSION, decode, shape_of, time_ids, to_array
from training.errors import TrainingError
from training.models.diffusion import Context, Latents, StableDiffusion, encode_text, to_device
from training.progress import Progress

LAYOUT = 1  # raise it when what is stored, or how texts are encoded, changes
CHUNK = 128  # rows that one process takes on at a time, and the most that one file holds
EVERY = 30.0  # seconds of work that a kill may cost
TEXTS = 16  # texts encoded at once
# Of images encoded at once, at most 16: one from 128 px on for a CPU, where more only leave its caches; sixteen of
# 512 px for a GPU.
PIXELS = {"cpu": 1 << 14, "cuda": 1 << 22}

Batch = tuple[list[int], dict[str, np.ndarray]]  # row numbers and their arrays


@dataclasses.dataclass(frozen=True)
class Rows:
    """N numbered rows of a store and how those that it lacks are made."""

    store: Store
    keys: list[bytes]
    encode: Callable[[list[int]], Iterator[Batch]]
    label: str

    def fill(self) -> None:
        """Make what is missing. Several processes share the work; each piece is written as soon as it is done."""
        starts = range(0, len(self.keys), CHUNK)
        pieces = [list(range(start, min(start + CHUNK, len(self.keys)))) for start in starts]
        missing = sum(len(self._missing(piece)) for piece in pieces)
        if not missing:
            return
        self.store.clean()
        with Progress(f"encoding {self.label}", missing, self.label) as progress:
            for wait in (False, True):  # what others do now is waited for at the end
                for piece in pieces:
                    if lacking := self._missing(piece):
                        with self.store.claim(b"".join(self.keys[row] for row in piece), wait) as mine:
                            if mine:
                                self.store.refresh()
                                self._make(self._missing(piece))
                        progress.advance(len(lacking) - len(self._missing(piece)))

    def take(self, rows: Sequence[int]) -> dict[str, np.ndarray]:
        """The arrays of the given rows, (len(rows), …) each; a damaged file is removed and its rows are made again."""
        while True:
            try:
                return self.store.read([self.keys[row] for row in rows])
            except Damaged as damaged:
                self.store.discard(damaged.path)
                self.fill()

    def _missing(self, piece: list[int]) -> list[int]:
        return [row for row in piece if self.keys[row] not in self.store.index]

    def _make(self, rows: list[int]) -> None:
        """Encode rows and write them now and then; what is done when something goes wrong is written as well."""
        since, held = time.monotonic(), list[Batch]()
        try:
            for batch in self.encode(rows):
                held.append(batch)
                if time.monotonic() - since > EVERY:
                    since, ready, held = time.monotonic(), held, []
                    self._write(ready)
        finally:
            if held:
                self._write(held)

    def _write(self, batches: list[Batch]) -> None:
        keys = [self.keys[row] for rows, _ in batches for row in rows]
        names = batches[0][1]
        self.store.add(keys, {name: np.concatenate([arrays[name] for _, arrays in batches]) for name in names})


@dataclasses.dataclass(frozen=True)
class Buckets:
    """N numbered rows that fall into several stores; `places` say in which part each is, and where."""

    parts: list[Rows]
    places: list[tuple[int, int]]

    def fill(self) -> None:
        """Make what is missing in all of them."""
        for part in self.parts:
            part.fill()

    def take(self, rows: Sequence[int]) -> dict[str, np.ndarray]:
        """The arrays of the given rows, which are of one part, (len(rows), …) each."""
        (part,) = {self.places[row][0] for row in rows}
        return self.parts[part].take([self.places[row][1] for row in rows])


@dataclasses.dataclass(frozen=True)
class Cache:
    """Latent distributions of N images and the conditioning of M distinct texts, given out on `device`.

    `text_row` is the row of every text, "" among them. `latents` says how the U-Net reads the distributions.
    `time_ids` (N, 6) is SDXL's original size and crop of every image, None for SD 1.5.
    """

    device: torch.device
    text_row: dict[str, int]
    latents: Latents
    images: Rows | Buckets
    texts: Rows
    time_ids: Tensor | None

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the unscaled latents of each given row: (N, C, h, w) each, float32.

        The rows are of images of one bucket.
        """
        arrays = self.images.take(images.tolist())
        mean, logvar = (to_device(torch.from_numpy(arrays[name]), self.device).float() for name in ("mean", "logvar"))
        return mean, torch.exp(0.5 * logvar)

    def contexts(self, texts: Tensor, images: Tensor) -> Context:
        """The conditioning of N rows of texts; for SDXL with the sizes of N rows of images."""
        arrays = self.texts.take(texts.tolist())
        moved = {name: to_device(torch.from_numpy(array), self.device) for name, array in arrays.items()}
        sizes = None if self.time_ids is None else to_device(self.time_ids[images.cpu()], self.device)
        return Context(moved["hidden"], moved.get("pooled"), sizes)


def open_or_build(
    model: StableDiffusion,
    images: Images,
    texts: Sequence[str],
    *,
    resolution: int,
    shapes: Sequence[Shape] | None = None,
    folder: Path | None = None,
) -> Cache:
    """The cache of all `images` at `resolution` and of all distinct `texts`; what it lacks is encoded now.

    With `shapes`, height and width of each image in pixels, these count in the place of the resolution.

    `folder` is by default $DATAGEN_TRAINING_CACHE or the user's cache directory. Several processes may call this at
    once and share the work. Raises TrainingError for a picture that cannot be decoded and a folder that is full or
    cannot be written.
    """
    if not model.text_encoders:
        raise TrainingError(f"the model at {model.source!r} has no text encoder: give a complete pipeline")
    folder = folder or folder_of_caches()
    unique = list(dict.fromkeys(["", *texts]))
    text_keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY] for text in unique]
    targets = shapes or [(resolution, resolution)] * len(images)
    both = zip(images.sizes, targets, strict=True)
    sizes = [time_ids(*size, target) for size, target in both] if model.is_xl else None
    cache = Cache(
        device=model.unet.device,
        text_row={text: row for row, text in enumerate(unique)},
        latents=model.latents,
        images=_in_buckets(model, images, shapes, folder)
        if shapes is not None
        else _of_shape(model, images, resolution, range(len(images)), folder),
        texts=Rows(
            Store(folder / "texts" / text_space(model)),
            text_keys,
            lambda rows: encode_texts(model, unique, rows),
            "texts",
        ),
        time_ids=None if sizes is None else torch.tensor(sizes, dtype=torch.float32),
    )
    cache.images.fill()
    cache.texts.fill()
    return cache


def _in_buckets(model: StableDiffusion, images: Images, shapes: Sequence[Shape], folder: Path) -> Buckets:
    """The images of each shape in a store of their own."""
    members: dict[Shape, list[int]] = {}
    places = []
    for row, shape in enumerate(shapes):
        rows = members.setdefault(shape, [])
        places.append((list(members).index(shape), len(rows)))
        rows.append(row)
    return Buckets([_of_shape(model, images, shape, rows, folder) for shape, rows in members.items()], places)


def _of_shape(
    model: StableDiffusion, images: Images, target: int | Shape, members: Sequence[int], folder: Path
) -> Rows:
    """Some of the images, at one size."""

    def encode(rows: list[int]) -> Iterator[Batch]:
        at = dict(zip((members[row] for row in rows), rows, strict=True))
        for batch, arrays in encode_images(model, images, target, list(at)):
            yield [at[row] for row in batch], arrays

    names = [bytes.fromhex(images.hashes[row]) for row in members]
    return Rows(Store(folder / "latents" / image_space(model, target)), names, encode, "images")


@torch.no_grad()
def encode_images(model: StableDiffusion, images: Images, target: int | Shape, rows: list[int]) -> Iterator[Batch]:
    """Mean and log-variance of the VAE's posterior, in batches of one size whatever the number of rows.

    What a convolution adds up in which order may depend on the batch's size, so the last batch is filled up: an image
    gets the same bits whichever images are encoded with it. Where memory runs out the size is halved.
    """
    vae, (tall, wide) = model.vae, shape_of(target)
    size = max(1, min(16, PIXELS.get(vae.device.type, PIXELS["cpu"]) // (tall * wide)))
    found = ((row, images.bytes(row)) for row in rows)
    arrays = prefetch(lambda item: to_array(decode(item[1], images.where(item[0])), target), found, 2 * size + 2)
    done, pixels = 0, list[np.ndarray]()
    while done < len(rows):
        batch = rows[done : done + size]
        try:
            pixels += [next(arrays) for _ in range(len(batch) - len(pixels))]
        except TrainingError as error:
            faults = undecodable(images)
            raise TrainingError(
                f"{faults.count:,} images cannot be decoded: {faults.words()} (--skip-bad leaves their pairs out)"
                if faults.count
                else str(error)
            ) from error
        try:
            moments = _moments(vae, pixels[: len(batch)], size)
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise TrainingError(f"too little memory to encode one image of {wide}×{tall}") from error
            size //= 2
            continue
        if not all(np.isfinite(value).all() for value in moments.values()):
            raise TrainingError(
                f"the VAE gives latents that are not finite for {images.where(batch[0])} or an image soon after it: "
                "use its weights in fp32, or a VAE that is made for fp16"
            )
        yield batch, {name: narrow(value) for name, value in moments.items()}
        done, pixels = done + len(batch), pixels[len(batch) :]


def _moments(vae: Any, pixels: list[np.ndarray], size: int) -> dict[str, np.ndarray]:
    """The posterior of up to `size` pictures (3, H, W), computed as a batch of that size."""
    batch = torch.zeros(size, *pixels[0].shape)
    batch[: len(pixels)] = torch.from_numpy(np.stack(pixels))
    posterior = vae.encode(batch.to(vae.device, vae.dtype)).latent_dist
    made = {"mean": posterior.mean, "logvar": posterior.logvar}
    return {name: value[: len(pixels)].float().cpu().numpy() for name, value in made.items()}


def narrow(values: np.ndarray) -> np.ndarray:
    """In float16, unless something in it is too large for that.

    Half the space, and nothing that training could see: the rounding is a hundredth of the posterior's own spread and
    of the least noise that a schedule adds, and moves a pair's errors by less than a ten-thousandth, where computing
    in bf16 moves them by some thousandths. Texts stay in float32, in which inference computes them too.
    """
    return values.astype(np.float16) if np.abs(values).max() <= np.finfo(np.float16).max else values


@torch.no_grad()
def encode_texts(model: StableDiffusion, texts: Sequence[str], rows: list[int]) -> Iterator[Batch]:
    """Hidden states and, for SDXL, pooled projections, in batches of one size as with images."""
    for start in range(0, len(rows), TEXTS):
        batch = rows[start : start + TEXTS]
        hidden, pooled = encode_text(model, [texts[row] for row in batch] + [""] * (TEXTS - len(batch)))
        made = {"hidden": hidden} if pooled is None else {"hidden": hidden, "pooled": pooled}
        yield batch, {name: value[: len(batch)].float().cpu().numpy() for name, value in made.items()}


def image_space(model: StableDiffusion, target: int | Shape) -> str:
    """A name for everything that decides an image's latents but the image: 32 hex digits.

    A square has one name, as a bucket and without.
    """
    tall, wide = shape_of(target)
    size: int | Shape = tall if tall == wide else (tall, wide)
    weights = {k: v for k, v in model.vae.state_dict().items() if k.startswith(("encoder.", "quant_conv."))}
    return _digest([LAYOUT, VERSION, size, _plain(model.vae.config)], weights)


def text_space(model: StableDiffusion) -> str:
    """A name for everything that decides a text's embedding but the text: 32 hex digits."""
    weights = {
        f"{number}.{name}": value
        for number, encoder in enumerate(model.text_encoders)
        for name, value in encoder.state_dict().items()
    }
    tokenizers = [[_state(t), t.model_max_length, str(t.pad_token)] for t in model.tokenizers]
    return _digest([LAYOUT, tokenizers, *(_plain(e.config.to_dict()) for e in model.text_encoders)], weights)


def _state(tokenizer: Any) -> dict[str, Any]:
    """All of a tokenizer but how its last call padded and truncated, which every call says again."""
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: value for name, value in state.items() if name not in ("padding", "truncation")}


def _plain(config: Any) -> dict[str, str]:
    """A configuration without the names of places and versions."""
    return {k: str(v) for k, v in sorted(dict(config).items()) if not k.startswith("_") and "version" not in k}


def _digest(facts: list[Any], weights: dict[str, Tensor]) -> str:
    def one(name: str) -> str:
        content = weights[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return f"{name} {weights[name].dtype} {tuple(weights[name].shape)} {hashlib.sha256(content.data).hexdigest()}"

    with ThreadPoolExecutor(threads()) as pool:
        lines = [json.dumps(facts), *pool.map(one, sorted(weights))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
