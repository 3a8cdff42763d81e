"""From a trainable's errors to what is minimised and what is logged: each loss gets the inputs that it reads.

Everything is per sample, so that micro-batches and processes can add up sums; nothing here waits for the device.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from training.loop.batches import TrainingBatch
from training.loop.clip_similarity import Similarity
from training.losses import LOSSES, Errors, Need, Outcome, Ranked, Unpaired
from training.models.noise import snr_weight
from training.settings.training import Settings
from training.trainables import Step


@dataclasses.dataclass(frozen=True)
class Scored:
    """S samples: what is minimised, `total` (S,); what is logged, (S,) each, detached; and of which samples it is.

    `counted` (S,) leaves out the pairs that hold the unconditional branch; `timesteps` (S,).
    """

    total: Tensor
    measured: dict[str, Tensor]
    counted: Tensor
    timesteps: Tensor


class Objective:
    """The loss of a run. `soft`: labels are taken as only probably right; `similarity` feeds clip_align."""

    def __init__(
        self, settings: Settings, scheduler: Any, *, soft: bool, similarity: Similarity | None = None
    ) -> None:
        self.loss = LOSSES[settings.run.method]
        self.options = settings.loss
        self.scheduler, self.min_snr = scheduler, settings.noise.min_snr
        self.soft = soft
        self.similarity = similarity
        self.penalised = settings.run.part == "value-encoder" and settings.value_encoder.leak_penalty > 0

    @property
    def needs_gain(self) -> bool:
        """Whether a sample's loss depends on the others in the batch, by `gain` (kto)."""
        return Need.SINGLE_IMAGES in self.loss.needs

    def __call__(self, batch: TrainingBatch, output: Step, gain: Tensor | None = None) -> Scored:
        """`gain` is the mean of `gains` over the batch of all processes, where `batch` is a part of it."""
        if batch.members is not None and batch.relevance is not None:
            return self._lists(batch.pairs.timesteps, output.errors, batch.members, batch.relevance)
        pairs = batch.pairs
        probability = pairs.probability if self.soft else None
        errors = dataclasses.replace(output.errors, probability=probability, reward_gap=batch.reward_gap)
        if self.similarity is not None:
            outcome = self.loss.function(self.similarity(batch), **self.options)
        elif self.needs_gain:
            outcome = self._singles(batch, output, gain)
        else:
            outcome = self.loss.function(errors, **self.options)
        total = outcome.loss if pairs.weight is None else outcome.loss * pairs.weight
        total = torch.where(pairs.uncond, errors.chosen.to(total), total) * self._weight(pairs.timesteps[: len(pairs)])
        penalty = output.penalty
        if penalty is None and self.penalised:  # a part of the batch that has no bystander
            penalty = torch.zeros_like(errors.chosen)
        total = total if penalty is None else total + penalty
        return Scored(total, measure(outcome, errors, penalty), ~pairs.uncond, pairs.timesteps[: len(pairs)])

    def _singles(self, batch: TrainingBatch, output: Step, gain: Tensor | None) -> Outcome:
        """A pair's loss is the mean of its two images', so that the mean over pairs is that over images."""
        if gain is None:
            total, count = gains(batch, output)
            gain = total / count.clamp(min=1)
        outcome = self.loss.function(singles(output.errors, gain), **self.options)
        return Outcome(outcome.loss.view(2, -1).mean(0), outcome.margin.view(2, -1).mean(0))

    def _lists(self, timesteps: Tensor, errors: Errors, members: Tensor, relevance: Tensor) -> Scored:
        """Logged as chosen and rejected are the best and the worst image of each list."""
        ref_chosen, ref_rejected = errors.reference()
        error, ref_error = (
            torch.cat(both)[members] for both in ((errors.chosen, errors.rejected), (ref_chosen, ref_rejected))
        )
        outcome = self.loss.function(Ranked(error, ref_error, relevance), **self.options)
        best = relevance.nan_to_num(-torch.inf).argmax(1, keepdim=True)
        worst = relevance.nan_to_num(torch.inf).argmin(1, keepdim=True)
        ends = Errors(*(table.gather(1, at)[:, 0] for table in (error, ref_error) for at in (best, worst)))
        counted = torch.ones_like(outcome.loss, dtype=torch.bool)
        steps = timesteps[members[:, 0]]
        return Scored(outcome.loss * self._weight(steps), measure(outcome, ends, None), counted, steps)

    def _weight(self, timesteps: Tensor) -> Tensor | float:
        """How much the samples at these steps (S,) count."""
        return snr_weight(self.scheduler, timesteps, self.min_snr) if self.min_snr else 1.0


def singles(errors: Errors, gain: Tensor) -> Unpaired:
    """The images of B pairs each alone, (2B,): the chosen ones desirable, the rejected ones not."""
    ref_chosen, ref_rejected = errors.reference()
    desirable = torch.ones_like(errors.chosen, dtype=torch.bool)
    return Unpaired(
        error=torch.cat([errors.chosen, errors.rejected]),
        ref_error=torch.cat([ref_chosen, ref_rejected]),
        desirable=torch.cat([desirable, ~desirable]),
        gain=gain,
    )


@torch.no_grad()
def gains(batch: TrainingBatch, output: Step) -> tuple[Tensor, Tensor]:
    """Sum of r - m over the images of a batch's pairs, and their number; pairs that hold the branch left out."""
    ref_chosen, ref_rejected = output.errors.reference()
    both = (ref_chosen - output.errors.chosen) + (ref_rejected - output.errors.rejected)
    counted = ~batch.pairs.uncond
    return (both * counted).sum(), 2.0 * counted.sum()


def measure(outcome: Outcome, errors: Errors, penalty: Tensor | None) -> dict[str, Tensor]:
    """What is logged of S samples, (S,) each; half credit for a tie of the margin."""
    margin = outcome.margin.detach()
    values = {
        "loss": outcome.loss,
        "accuracy": (margin > 0).float() + 0.5 * (margin == 0).float(),
        "margin": margin,
        "chosen_error": errors.chosen,
        "rejected_error": errors.rejected,
        "ref_chosen_error": errors.ref_chosen,
        "ref_rejected_error": errors.ref_rejected,
        "penalty": penalty,
    }
    return {name: value.detach() for name, value in values.items() if value is not None}
