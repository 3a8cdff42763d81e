"""The batch of a step: which pairs, which noise, which principles; each a function of (seed, step, place).

So a run that was resumed, cut into micro-batches or spread over processes learns from the very batches of one that
was not. A place is a sample's index in the batch of all processes; a sample is a pair, or a ranked list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from training import data
from training.cache.latents import Cache
from training.data.buckets import Shape
from training.errors import TrainingError
from training.loop.order import Order, generator
from training.losses import LOSSES, Need
from training.models import diffusion
from training.models.noise import add_noise, snr_weight
from training.settings.training import Noise, Settings


@dataclasses.dataclass(frozen=True)
class TrainingBatch:
    """S samples as B noised pairs for a trainable: S = B for pairs; a list of K images takes K/2 places, rounded up.

    What the loss does not read is None: of pairs `reward_gap` (S,) and, without noise, the latents `clean` (2B, …)
    with `descriptions` of both images; of lists `relevance` (S, K), NaN in empty places, and `members` (S, K), where
    each image stands among the 2B.
    """

    pairs: diffusion.Batch
    reward_gap: Tensor | None = None
    clean: Tensor | None = None
    descriptions: tuple[list[str], list[str]] | None = None
    relevance: Tensor | None = None
    members: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class SampleNoise:
    """All randomness of one sample of n images: noise of the posterior and of diffusion, (n, C, h, w); timesteps (n,).

    `uncond`: it holds the unconditional branch. `other_principles`: see diffusion.Batch.
    """

    posterior: Tensor
    noise: Tensor
    timesteps: Tensor
    uncond: bool
    other_principles: tuple[str, ...]


class Batches:
    """The batches of a run; `samples` are pairs, or lists for a loss that learns from lists.

    With `shapes`, the bucket of each image, every batch is of one bucket.
    """

    def __init__(
        self,
        samples: data.Pairs | data.Lists,
        store: Cache,
        model: diffusion.StableDiffusion,
        settings: Settings,
        shapes: Sequence[Shape] | None = None,
    ) -> None:
        self.samples, self.store, self.settings = samples, store, settings
        buckets = [shapes[images[0]] if shapes else None for images in compared(samples)]
        self.order = Order(buckets, settings.optimizer.batch, settings.run.seed)
        self.scheduler = model.noise_scheduler
        self.zeros_for_empty = model.zeros_for_empty
        self.timesteps = int(self.scheduler.config.num_train_timesteps)
        self.steps = steps_of_noise(settings.noise, self.timesteps)
        needs = LOSSES[settings.run.method].needs
        self.alone = Need.SINGLE_IMAGES in needs  # each image has noise of its own
        self.rewarded = Need.REWARD_GAP in needs
        self.described = Need.SIMILARITIES in needs
        # What is said of the one pair would not be true of another partner.
        of_the_pair = {Need.PROBABILITY, Need.REWARD_GAP, Need.CAPTIONS, Need.SIMILARITIES}
        fixed = LOSSES[settings.run.method].soft or needs & of_the_pair
        self.partners = None if fixed or isinstance(samples, data.Lists) else samples.partners
        self.captions: list[Sequence[str]] = [samples.prompts]
        if Need.CAPTIONS in needs and isinstance(samples, data.Pairs):
            self.captions = [samples.chosen_captions or (), samples.rejected_captions or ()]
        self.principles = [""] * len(samples.prompts)
        if settings.run.part == "value-encoder" and isinstance(samples, data.Pairs):
            self.principles = samples.principles
        self.known = sorted({principle for principle in self.principles if principle})

    def get(self, step: int, places: range) -> TrainingBatch:
        """The samples at the given places of a step's batch, on the cache's device."""
        rows = self.order.rows(step)[places.start : places.stop].tolist()
        images = [self._images(row, step, place) for place, row in zip(places, rows, strict=True)]
        mean, std = self.store.posterior(torch.tensor([image for shown in images for image in shown]))
        noises = [
            self._sample_noise(generator(self.settings.run.seed, "step", step, place), row, len(shown), mean.shape[1:])
            for place, row, shown in zip(places, rows, images, strict=True)
        ]
        device = self.store.device
        posterior, noise, timesteps = (
            diffusion.to_device(torch.cat([getattr(sample, name) for sample in noises]), device)
            for name in ("posterior", "noise", "timesteps")
        )
        latents = self.store.latents.scaled(mean + std * posterior)
        uncond = torch.tensor([sample.uncond for sample in noises for _ in range(len(sample.timesteps) // 2)])
        latents, noise, timesteps = (chosen_first(values) for values in (latents, noise, timesteps))
        uncond = diffusion.to_device(uncond, device)
        latents = torch.where(uncond.repeat(2)[:, None, None, None], latents.roll(len(uncond), 0), latents)
        noised, target = add_noise(self.scheduler, latents, noise, timesteps)
        # Where a list takes several places, each of them has its prompt.
        owners = [i for i, shown in enumerate(images) for _ in range(len(shown) // 2)]
        pairs = diffusion.Batch(
            latents=noised,
            target=target,
            timesteps=timesteps,
            context=self._context(rows, images, noises),
            uncond=uncond,
            prompts=[self.samples.prompts[rows[i]] for i in owners],
            principles=[self.principles[rows[i]] for i in owners],
            other_principles=[noises[i].other_principles for i in owners],
            probability=self._numbers("probabilities", rows),
            weight=self._numbers("weights", rows),
        )
        if isinstance(self.samples, data.Lists):
            relevance, members = laid_out([self.samples.relevance[row] for row in rows])
            return TrainingBatch(
                pairs, relevance=diffusion.to_device(relevance, device), members=diffusion.to_device(members, device)
            )
        if self.described:
            return TrainingBatch(pairs, clean=latents, descriptions=self._descriptions(rows))
        return TrainingBatch(pairs, self._reward_gap(rows))

    def _images(self, row: int, step: int, place: int) -> list[int]:
        """A sample's images: a list of odd length gets its last one twice, a pair of a pool this step's partner."""
        if isinstance(self.samples, data.Lists):
            shown = self.samples.rows[row]
            return [*shown, *shown[-1:]] if len(shown) % 2 else list(shown)
        chosen, rejected = self.samples.chosen[row], self.samples.rejected[row]
        if self.partners is None:
            return [chosen, rejected]
        violating = self.partners[row]
        rng = generator(self.settings.run.seed, "partner", step, place)
        partner = violating[int(torch.randint(len(violating), (), generator=rng))]
        return [chosen, partner] if rejected in violating else [partner, rejected]  # a control arm swaps pairs

    def _sample_noise(self, rng: torch.Generator, row: int, images: int, shape: torch.Size) -> SampleNoise:
        """The images of a sample share noise and timestep unless the loss takes each alone."""
        # Guidance subtracts the unconditional branch, which full fine-tuning drags along, so what both branches learn
        # cancels. A share of the pairs holds that branch where it was: no caption, and the rejected image to denoise.
        uncond = float(torch.rand((), generator=rng)) < self.settings.unet.uncond_share
        own = images if self.alone else 1
        timesteps = torch.randint(self.steps.start, self.steps.stop, (own,), generator=rng)
        posterior = torch.randn((images, *shape), generator=rng)
        noise = torch.randn((own, *shape), generator=rng)
        other_principles = self._other_principles(self.principles[row], rng)
        if offset := self.settings.noise.noise_offset:
            noise = noise + offset * torch.randn((own, shape[0], 1, 1), generator=rng)
        return SampleNoise(posterior, noise.expand(images, *shape), timesteps.expand(images), uncond, other_principles)

    def _other_principles(self, own: str, rng: torch.Generator) -> tuple[str, ...]:
        """One of the data's other principles; with several at once, for half of the pairs its own and some others."""
        rest = [principle for principle in self.known if principle != own]
        order = torch.randperm(len(rest), generator=rng).tolist()
        most = min(self.settings.value_encoder.max_principles - 1, len(rest))
        if not most or torch.rand((), generator=rng) < 0.5:
            return tuple(rest[i] for i in order[:1])
        more = 1 + int(torch.randint(most, (), generator=rng))
        return (own, *(rest[i] for i in order[:more]))

    def _context(self, rows: list[int], images: list[list[int]], noises: list[SampleNoise]) -> diffusion.Context:
        """One row a pair, the first image's sizes with it; with a caption for each image, one row an image.

        The unconditional branch is the pipeline's own: zeros, or the empty text.
        """
        texts, shown, uncond = [], [], []
        for row, pictures, sample in zip(rows, images, noises, strict=True):
            for first in range(0, len(pictures), 2):
                texts.append(["" if sample.uncond else column[row] for column in self.captions])
                shown.append(pictures[first : first + len(self.captions)])
                uncond.append(sample.uncond)
        found = torch.tensor([[self.store.text_row[text] for text in side] for side in zip(*texts, strict=True)])
        context = self.store.contexts(found.flatten(), torch.tensor(list(zip(*shown, strict=True))).flatten())
        if not (self.zeros_for_empty and any(uncond)):
            return context
        return context.without_text(diffusion.to_device(torch.tensor(uncond * len(found)), self.store.device))

    def _numbers(self, column: str, rows: list[int]) -> Tensor | None:
        values = getattr(self.samples, column, None)
        return (
            None
            if values is None
            else diffusion.to_device(torch.tensor([values[row] for row in rows]), self.store.device)
        )

    def _reward_gap(self, rows: list[int]) -> Tensor | None:
        """The chosen image's calibrated reward minus the rejected one's (S,), where the loss reads it."""
        if not self.rewarded:
            return None
        chosen, rejected = self._numbers("chosen_rewards", rows), self._numbers("rejected_rewards", rows)
        return None if chosen is None or rejected is None else chosen - rejected

    def _descriptions(self, rows: list[int]) -> tuple[list[str], list[str]]:
        """What the chosen and the rejected images were generated from."""
        chosen, rejected = (getattr(self.samples, f"{side}_captions") for side in ("chosen", "rejected"))
        return [chosen[row] for row in rows], [rejected[row] for row in rows]


def check_noise(noise: Noise, scheduler: Any) -> None:
    """Raise TrainingError for settings that the model's noise does not have, before any image is encoded."""
    steps_of_noise(noise, int(scheduler.config.num_train_timesteps))
    if noise.min_snr:
        snr_weight(scheduler, torch.zeros(1, dtype=torch.long), noise.min_snr)


def steps_of_noise(noise: Noise, count: int) -> range:
    """The steps that images are noised to, of the model's `count`. Raises TrainingError if none is left."""
    steps = range(noise.timestep_min, noise.timestep_max or count)
    if steps.stop > count or not steps:
        raise TrainingError(
            f"--timestep-min {steps.start} and --timestep-max {steps.stop}: the model has steps 0 to {count - 1}, and "
            "the least must be below the other"
        )
    return steps


def chosen_first(images: Tensor) -> Tensor:
    """Images in pairs, (2B, …) → the first ones of all pairs, then the second, (2B, …)."""
    return torch.cat([images[0::2], images[1::2]])


def laid_out(relevance: Sequence[Sequence[float]]) -> tuple[Tensor, Tensor]:
    """Lists of any lengths → relevance, NaN in empty places, and where `chosen_first` puts each image: (S, K) both."""
    width = max(map(len, relevance))
    places = sum((len(values) + 1) // 2 for values in relevance)
    table = torch.full((len(relevance), width), float("nan"))
    members = torch.zeros((len(relevance), width), dtype=torch.long)
    first = 0
    for i, values in enumerate(relevance):
        k = torch.arange(len(values))
        table[i, : len(values)] = torch.tensor(values)
        members[i, : len(values)] = first + k // 2 + (k % 2) * places
        first += (len(values) + 1) // 2
    return table, members


def compared(samples: data.Pairs | data.Lists) -> list[list[int]]:
    """The images of each sample, all that it may be compared with among them."""
    if isinstance(samples, data.Lists):
        return samples.rows
    partners = samples.partners or [[]] * len(samples)
    return [[*both, *more] for *both, more in zip(samples.chosen, samples.rejected, partners, strict=True)]


def samples(pairs: data.Pairs, settings: Settings) -> data.Pairs | data.Lists:
    """What the loss learns from: the pairs, or their lists, with the labels that --control wants."""
    if Need.LISTS in LOSSES[settings.run.method].needs:
        return reranked(data.as_lists(pairs), settings.run.control, settings.run.seed)
    return relabelled(pairs, settings.run.control, settings.run.seed)


def texts(pairs: data.Pairs, settings: Settings) -> list[str]:
    """What the text encoders have to read."""
    if Need.CAPTIONS in LOSSES[settings.run.method].needs:
        return [*pairs.prompts, *(pairs.chosen_captions or ()), *(pairs.rejected_captions or ())]
    return pairs.prompts


def relabelled(pairs: data.Pairs, control: str, seed: int) -> data.Pairs:
    """The pairs with the labels of a control arm: swapped for all, or for a random half of them.

    An image keeps its caption; what the label is said to be worth (probability, weight, rewards) stays with the label.
    """
    if not control:
        return pairs
    turned = torch.ones(len(pairs), dtype=torch.bool)
    if control == "random-labels":
        turned = torch.rand(len(pairs), generator=generator(seed, "labels")) < 0.5
    columns: dict[str, Any] = {}
    for first, second in (("chosen", "rejected"), ("chosen_captions", "rejected_captions")):
        left, right = getattr(pairs, first), getattr(pairs, second)
        if left is not None:
            both = [(b, a) if turn else (a, b) for a, b, turn in zip(left, right, turned.tolist(), strict=True)]
            columns[first], columns[second] = [a for a, _ in both], [b for _, b in both]
    return dataclasses.replace(pairs, **columns)


def reranked(lists: data.Lists, control: str, seed: int) -> data.Lists:
    """The lists with the relevance of a control arm: shuffled within each list, or reversed."""
    if not control:
        return lists
    relevance = []
    for i, values in enumerate(lists.relevance):
        order = torch.randperm(len(values), generator=generator(seed, "labels", i)).tolist()
        relevance.append([values[k] for k in order] if control == "random-labels" else [1 - v for v in values])
    return dataclasses.replace(lists, relevance=relevance)
