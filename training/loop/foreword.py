"""What a training is about to do, said before its first step: on what, how, with whose settings, what looks wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from datagen.weights.value_pipeline import value_text
from training import data
from training.loop.batches import texts
from training.loop.order import Order
from training.loop.standing import Standing
from training.loop.update import Update, learning_rate
from training.losses import LOSSES, Need
from training.models.diffusion import StableDiffusion
from training.settings.training import Optimizer, Settings
from training.trainables.start import HELD, Start

MANY = 200  # passes over the data, from which on few losses learn anything but these very pictures


def lines(
    settings: Settings, pairs: data.Pairs, samples: int, update: Update, model: StableDiffusion
) -> Iterator[str]:
    """All that is to be said, a line each; `samples` are the pairs, or the lists that they make."""
    kind = "lists" if Need.LISTS in LOSSES[settings.run.method].needs else "pairs"
    optimizer = settings.optimizer
    passes = optimizer.steps * optimizer.batch / samples
    yield "".join(_parts(settings, pairs, f"{samples:,} {kind}", update, model, passes))
    yield from (f"not given: {default}" for default in settings.defaults_taken)
    if passes > MANY:
        yield (
            f"warning: {passes:,.0f} passes over {samples:,} {kind}: the model learns these pictures by heart; "
            "lower --steps or --batch, or give more data"
        )
    if optimizer.batch > samples:
        yield f"warning: a step takes {optimizer.batch:,} {kind} of {samples:,}: some of them more than once"
    if 1 < optimizer.steps <= optimizer.warmup:
        reached = learning_rate(optimizer, optimizer.steps - 1)
        yield (
            f"warning: the warm-up of {optimizer.warmup:,} steps does not end within the run of "
            f"{optimizer.steps:,}: the learning rate reaches {reached:g} of {optimizer.lr:g}"
        )


def starting(settings: Settings, start: Start | None) -> Iterator[str]:
    """What a run starts from instead of the model's own weights, and what its reference then is."""
    if start is None:
        return
    line = f"starts from {HELD[start.source.kind]} in {start.source.place}"
    if LOSSES[settings.run.method].needs_reference:
        steered = start.source.kind == "value-encoder"
        reference = "the model without its token" if steered else "this start, not the model without it"
        line += f"; the reference is {reference}"
    yield line
    yield from (f"note: {note}" for note in start.notes)


def of_buckets(order: Order, optimizer: Optimizer) -> Iterator[str]:
    """What is to be said of samples that lie in aspect-ratio buckets."""
    if small := order.small():
        yield (
            f"note: {small:,} samples are in buckets with fewer than a step's {optimizer.batch:,}: their batches hold "
            "some of them more than once"
        )
    if unseen := order.unseen(optimizer.steps):
        yield f"note: {unseen:,} samples are not seen in {optimizer.steps:,} steps, which each take one bucket"


def going_on(optimizer: Optimizer, before: Standing) -> Iterator[str]:
    """What is to be said of a run that goes on with another number of steps than it had."""
    if not before.done or before.planned == optimizer.steps:
        return
    yield f"goes on after step {before.done:,} of {before.planned:,}, up to step {optimizer.steps:,}"
    if optimizer.schedule != "constant":
        was = learning_rate(dataclasses.replace(optimizer, steps=before.planned), before.done - 1)
        now = learning_rate(optimizer, before.done)
        yield (
            f"note: the learning rate goes from {was:g} to {now:g} there, on the {optimizer.schedule} of "
            f"{optimizer.steps:,} steps: a run that had them from the start ends with other weights"
        )


def _parts(
    settings: Settings, pairs: data.Pairs, on: str, update: Update, model: StableDiffusion, passes: float
) -> Iterator[str]:
    """The first line."""
    run, optimizer, team = settings.run, settings.optimizer, update.team
    yield f"{run.method} on {on}"
    if pairs.dropped:
        yield f" ({pairs.dropped:,} rows left out, which are ties or have no partner)"
    if pairs.unusable:
        yield f" ({pairs.unusable:,} left out, which cannot be used)"
    yield f": {sum(w.numel() for w in update.weights):,} weights, {optimizer.steps:,} steps of {optimizer.batch:,}"
    yield f" ({passes:,.3g} passes)" if passes < 1000 else f" ({passes:,.0f} passes)"
    yield f" in {team.num_processes} processes" if team.num_processes > 1 else ""
    yield f", {optimizer.optimizer}" if optimizer.optimizer != "adamw" else ""
    yield f", lr {optimizer.lr:g}"
    yield from (f", {name} {value:g}" for name, value in settings.loss.items() if isinstance(value, float))
    yield f", {'soft' if update.objective.soft else 'hard'} labels, {update.precision}, {team.device}"
    yield f", control: {run.control}" if run.control else ""
    captions = read_texts(pairs, settings)
    if cut := count_cut(model.tokenizers, captions):
        most = _most(model.tokenizers)
        yield f"; {cut:,} of {len(captions):,} captions are longer than {most} tokens and are cut there"


def read_texts(pairs: data.Pairs, settings: Settings) -> list[str]:
    """The distinct texts that encoders read: captions, and for a value encoder each with its principle before it."""
    captions = texts(pairs, settings)
    if settings.run.part == "value-encoder":
        captions = [value_text(*both) for both in zip(pairs.principles, pairs.prompts, strict=True)]
    return list(dict.fromkeys(captions))


def count_cut(tokenizers: Sequence[Any], captions: Sequence[str]) -> int:
    """How many texts have more tokens than a text encoder reads, the marks of beginning and end among them."""
    cut = 0
    for start in range(0, len(captions), 1000):
        some = list(captions[start : start + 1000])
        counts = [[len(ids) for ids in tokenizer(some).input_ids] for tokenizer in tokenizers]
        cut += sum(max(lengths) > _most(tokenizers) for lengths in zip(*counts, strict=True))
    return cut


def _most(tokenizers: Sequence[Any]) -> int:
    return min(int(tokenizer.model_max_length) for tokenizer in tokenizers)
