"""The arms that the trainer's benchmarks compare, each a function that does one training step: ours, and a peer's.

`python -m benchmarks.support.arms CASE ARM WORK [FLAG…]` is one arm in a process of its own: it prints, as JSON, by
how many MiB the process grew over its size before the first step, at the most. The work folder has what `prepare` puts
there.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from benchmarks.support import memory, peers, tiny
from training import data, train
from training.cache import latents as cache
from training.data import decode, to_array
from training.loop import batches
from training.loop.distributed import Team
from training.loop.objective import Objective
from training.loop.update import Update
from training.models.diffusion import Batch
from training.models.noise import add_noise
from training.settings.training import parse

BATCH = 8
SIDE = tiny.RESOLUTION // 8  # of the latents
STEPS = 6  # that a peak of memory is taken over
# The same arithmetic on both sides, and as in the peers' README runs: plain AdamW, a small constant learning rate.
COMMON = f"--batch {BATCH} --resolution {tiny.RESOLUTION} --lr 1e-6 --precision fp32 --device cpu --steps 100000"


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained on which shape of model, by the peer and by us, and how much faster we want to be."""

    shape: str
    peer: Callable[..., peers.Peer]
    flags: tuple[str, ...]
    goal: float


DPO_LORA = ("--method", "dpo", "--lora-rank", "8")
CASES = {
    "mapo": Case("sdxl", peers.Mapo, ("--method", "mapo"), 2.3),
    "livo": Case("sd15", peers.Livo, ("--method", "livo"), 2.2),
    "dpo-lora-sd15": Case("sd15", peers.DpoLora, DPO_LORA, 2.0),
    "dpo-lora-sdxl": Case("sdxl", peers.DpoLora, DPO_LORA, 2.0),
}


def prepare(work: Path, pairs: int = 32) -> None:
    """One thread; models of both shapes and a data set in the work folder, where they are not there yet."""
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    for shape in ("sd15", "sdxl"):
        if not (work / shape / "model_index.json").is_file():
            tiny.model(shape, work)
    if not (work / "pairs").is_dir():
        tiny.pairs(pairs, work)


class Ours:
    """Our trainer, put together as training/train.py does it; a call is one step, its batch drawn from the cache."""

    def __init__(self, shape: str, work: Path, *flags: str, cached: Path | None = None) -> None:
        model = ["--model", str(work / shape), "--data", str(work / "pairs"), "--out", str(work / "out")]
        self.settings = parse([*COMMON.split(), *model, *flags])
        team = Team(torch.device("cpu"))
        self.pairs = data.load(self.settings.run.data)
        torch.manual_seed(0)
        self.model = train.load_model(self.settings, team)
        texts = batches.texts(self.pairs, self.settings)
        folder = cached or work / "cache"
        self.store = cache.open_or_build(
            self.model, self.pairs.images, texts, resolution=tiny.RESOLUTION, folder=folder
        )
        self.trainable = train.make_trainable(self.settings, self.model, team)
        self.objective = Objective(self.settings, self.model.noise_scheduler, soft=False)
        self.loader = batches.Batches(self.pairs, self.store, self.model, self.settings)
        self.update: Update | None = None
        self.done = 0

    def __call__(self) -> None:
        if self.update is None:  # made with the first step, whose growth in memory takes in what it sets aside
            self.update = Update(
                self.trainable, self.loader.get, self.objective, self.settings, Team(torch.device("cpu"))
            )
        self.update(self.done)
        self.done += 1

    def given(self, seed: int) -> Batch:
        """The first pairs of the data with the randomness that `_peers.Draws.fresh` makes of the seed."""
        images = torch.tensor([*self.pairs.chosen[:BATCH], *self.pairs.rejected[:BATCH]])
        generator = torch.Generator().manual_seed(seed)
        mean, std = self.store.posterior(images)
        latents = self.store.latents.scaled(mean + std * torch.randn(mean.shape, generator=generator))
        noise = torch.randn(BATCH, *latents.shape[1:], generator=generator).repeat(2, 1, 1, 1)
        timesteps = torch.randint(0, 1000, (BATCH,), generator=generator).repeat(2)
        noised, target = add_noise(self.model.noise_scheduler, latents, noise, timesteps)
        prompts = self.pairs.prompts[:BATCH]
        texts = torch.tensor([self.store.text_row[prompt] for prompt in prompts])
        return Batch(
            latents=noised,
            target=target,
            timesteps=timesteps,
            context=self.store.contexts(texts, images[:BATCH]),
            uncond=torch.zeros(BATCH, dtype=torch.bool),
            prompts=prompts,
            principles=self.pairs.principles[:BATCH],
            other_principles=[()] * BATCH,
        )

    def gradients(self, batch: Batch, micro: int) -> tuple[float, list[Tensor]]:
        """Loss and gradients of a batch, `micro` pairs at a time."""
        for weight in self.trainable.parameters():
            weight.grad = None
        loss = 0.0
        for start in range(0, BATCH, micro):
            part = batches.TrainingBatch(batch.part(slice(start, start + micro)))
            made = self.trainable.step(part.pairs, reference=self.objective.loss.needs_reference)
            total = self.objective(part, made).total.sum() / BATCH
            total.backward()
            loss += total.item()
        return loss, [weight.grad for weight in self.trainable.parameters() if weight.grad is not None]


def rows(work: Path) -> peers.Rows:
    """The data set as the peers read it."""
    table = pq.read_table(work / "pairs")
    chosen, rejected = ([cell["bytes"] for cell in table[side].to_pylist()] for side in ("chosen", "rejected"))
    return peers.Rows(table["prompt"].to_pylist(), table["principle"].to_pylist(), chosen, rejected)


def peer(case: Case, work: Path) -> Callable[[], float]:
    """The peer's step."""
    made = case.peer(work / case.shape, tiny.RESOLUTION)
    return peers.trainer(made, rows(work), SIDE, batch=BATCH, lr=1e-6)


def as_float64(batch: Batch) -> Batch:
    """The batch in float64."""
    context = dataclasses.replace(batch.context, hidden=batch.context.hidden.double())
    return dataclasses.replace(batch, latents=batch.latents.double(), target=batch.target.double(), context=context)


def unequal(
    case: Case, work: Path, *flags: str, micro: int = BATCH, seed: int = 1, wide: bool = False
) -> tuple[float, float]:
    """Relative difference of loss and of gradients, ours against the peer's, same weights, pixels, noise, timesteps.

    `wide`, for LiVO: U-Net and value encoder in float64 on both sides, so that what differs is not rounding.

    Pixels are the same because the peers' resizing differs from ours, and from each other's, in the last bits. The
    gradients' difference is the norm of the difference over the norm.
    """
    mine, theirs = Ours(case.shape, work, *case.flags, *flags), case.peer(work / case.shape, tiny.RESOLUTION)
    parts: Any = mine.trainable, theirs  # of LiVO's, both sides have more than every training has
    with torch.no_grad():  # adapters begin with a half of zeros, whose gradients would say nothing of the other half
        for a, b in zip(mine.trainable.parameters(), theirs.parameters(), strict=True):
            b.copy_(a.add_(torch.randn_like(a), alpha=1e-3))
    if wide:
        for model in (mine.model.unet, *parts[0].encoders, parts[1].parts.unet, parts[1].encoder):
            model.double()
    picked = rows(work).pick(range(BATCH))
    pictures = [to_array(decode(encoded, "a"), tiny.RESOLUTION) for encoded in (*picked.chosen, *picked.rejected)]
    draws = peers.Draws.fresh(BATCH, SIDE, torch.Generator().manual_seed(seed))
    _, time_ids = theirs.read(picked)
    loss = theirs.loss(torch.stack([torch.from_numpy(p) for p in pictures]), time_ids, picked, draws)
    loss.backward()
    wanted = [weight.grad for weight in theirs.parameters()]
    given = mine.given(seed)
    ours, found = mine.gradients(as_float64(given) if wide else given, micro)
    off = sum(float((a - b).double().square().sum()) for a, b in zip(found, wanted, strict=True) if b is not None)
    size = sum(float(b.double().square().sum()) for b in wanted if b is not None)
    return abs(ours - loss.item()) / abs(loss.item()), (off / size) ** 0.5


def touch() -> None:
    """Read all weights: files are mapped, and pages that come in with the first step would count as its growth."""
    for held in gc.get_objects():
        if isinstance(held, torch.nn.Parameter):
            held.detach().sum()


def warm(case: Case, work: Path) -> None:
    """A step of each side on one pair, thrown away: what the libraries load when first used is nobody's growth."""
    made = case.peer(work / case.shape, tiny.RESOLUTION)
    peers.trainer(made, rows(work), SIDE, batch=1, lr=1e-6)()
    Ours(case.shape, work, *case.flags, "--batch", "1")()


def main() -> None:
    """One arm's growth in memory."""
    name, arm, folder, *flags = sys.argv[1:]
    case, work = CASES[name], Path(folder)
    torch.set_num_threads(1)
    warm(case, work)
    step: Any = peer(case, work) if arm == "peer" else Ours(case.shape, work, *case.flags, *flags)
    touch()
    print(json.dumps({"growth": memory.growth(step, STEPS)}))


if __name__ == "__main__":
    main()
