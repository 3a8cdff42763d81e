"""Every loss a second time, to check the first: textbook formulas in decimal arithmetic of 80 digits.

With that many digits no formula needs a trick against rounding or overflow, and a central difference gives a
derivative to more digits than float64 has. Nothing is shared with the losses under test, not even the
defaults of their options.
"""

from __future__ import annotations

import dataclasses
import decimal
import itertools
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import torch

from training.losses import LOSSES, Errors, Ranked, Similarities, Unpaired

decimal.getcontext().prec = 80
STEP = Decimal("1e-20")  # of the central difference; its error is the step squared
FLOOR = 1e-30  # a number below it is as good as zero: float32 ends at 1e-38
Number = Decimal
Numbers = Sequence[Decimal]


def log_sigmoid(x: Number) -> Number:
    return -(1 + (-x).exp()).ln()


def phi(x: Number) -> Number:
    return x / (x.exp() - 1) if x else Decimal(1)


def gains(x: Numbers) -> tuple[Number, Number]:
    """By how much the policy denoises the chosen and the rejected image better than the reference."""
    return x[2] - x[0], x[3] - x[1]


def dpo(x: Numbers, p: Number, *, beta: Number = Decimal(5000), smoothing: Number = Decimal(0)) -> Number:
    inside = -beta / 2 * ((x[0] - x[1]) - (x[2] - x[3]))
    right = p * (1 - smoothing) + (1 - p) * smoothing
    return -right * log_sigmoid(inside) - (1 - right) * log_sigmoid(-inside)


def npo(x: Numbers, p: Number, *, beta: Number = Decimal(1000)) -> Number:
    return dpo(x, 1 - p, beta=beta)


def dcpo(x: Numbers, p: Number, *, beta: Number = Decimal(500)) -> Number:
    return dpo(x, p, beta=beta)


def ipo(x: Numbers, p: Number, *, beta: Number = Decimal(2500)) -> Number:
    chosen, rejected = gains(x)
    h, target = chosen - rejected, 1 / (2 * beta)
    return beta**2 * (p * (h - target) ** 2 + (1 - p) * (h + target) ** 2)


def hinge(x: Numbers, p: Number, *, beta: Number = Decimal(5000)) -> Number:
    chosen, rejected = gains(x)
    u = beta * (chosen - rejected) / 2
    return p * max(Decimal(0), 1 - u) + (1 - p) * max(Decimal(0), 1 + u)


def smpo(x: Numbers, p: Number, *, beta: Number = Decimal(5000), sensitivity: Number = Decimal(10)) -> Number:
    chosen, rejected = gains(x)
    return -log_sigmoid((2 * sensitivity * p - sensitivity) * beta / 2 * (chosen - rejected))


def dmpo(x: Numbers, p: Number, *, beta: Number = Decimal(5000), alpha: Number = Decimal("0.01")) -> Number:
    chosen, rejected = gains(x)
    e = (beta / 2 * (rejected - chosen)).exp()
    model, right = 1 / (1 + e), p * (1 - alpha) + (1 - p) * alpha
    return model * (model / right).ln() + e / (1 + e) * (e / (1 + e) / (1 - right)).ln()


def capo(x: Numbers, gap: Number, *, beta: Number = Decimal(5000)) -> Number:
    chosen, rejected = gains(x)
    return (beta / 2 * (chosen - rejected) - gap) ** 2


def pso(x: Numbers, _: Number, *, beta: Number = Decimal(200), factor: Number = Decimal("0.1")) -> Number:
    chosen, rejected = gains(x)
    return -log_sigmoid(beta * (chosen - factor * rejected))


def sft(x: Numbers, _: Number) -> Number:
    return x[0]


def mapo(x: Numbers, _: Number, *, beta: Number = Decimal("0.1"), form: str = "code") -> Number:
    chosen, rejected = x[:2]
    if form == "code":
        return chosen - beta * log_sigmoid(1000 * (phi(chosen / 2) - phi(rejected / 2)))
    if form == "exponent":
        return chosen - log_sigmoid(phi(chosen) ** beta - phi(rejected) ** beta) / beta
    return chosen - log_sigmoid(beta * (phi(chosen) - phi(rejected))) / beta


def livo(x: Numbers, _: Number, *, beta: int = 1000, alpha: int = 500) -> Number:
    chosen, rejected = gains(x)
    return max(Decimal(0), 1 - beta * chosen) + max(Decimal(0), Decimal("0.5") + alpha * rejected)


def clip_align(x: Numbers, _: Number) -> Number:
    aligned, violating = (100 * x[0]).exp(), (100 * x[1]).exp()
    return -(aligned / (aligned + violating)).ln()


def kto(x: Numbers, given: tuple[bool, Number]) -> Number:
    desirable, divergence = given
    gain = 1000 * (x[1] - x[0] - divergence)
    return 1 - 1 / (1 + (-gain if desirable else gain).exp())


def rankdpo(x: Numbers, relevance: Sequence[Decimal | None]) -> Number:
    s, total = _advantages(x), Decimal(0)
    rank = [1 + sum(_above(other, own) for other in relevance) for own in relevance]
    for i, j in itertools.permutations(range(len(s)), 2):
        first, second = relevance[i], relevance[j]
        if first is not None and second is not None and first > second:
            weight = (Decimal(2) ** first - Decimal(2) ** second) * (
                1 / Decimal(1 + rank[i]).ln() - 1 / Decimal(1 + rank[j]).ln()
            )
            total -= weight * log_sigmoid(-2500 * (s[i] - s[j]))
    return total


def lpo(x: Numbers, relevance: Sequence[Decimal | None]) -> Number:
    strength = [(-2500 * s).exp() for s in _advantages(x)]
    total = Decimal(0)
    for own, mine in zip(strength, relevance, strict=True):
        worse = sum((s for s, other in zip(strength, relevance, strict=True) if _above(mine, other)), Decimal(0))
        total -= (own / (own + worse)).ln()
    return total


def _advantages(x: Numbers) -> list[Number]:
    """Error minus the reference's, image by image; `x` holds all errors, then all of the reference's."""
    half = len(x) // 2
    return [error - ref for error, ref in zip(x[:half], x[half:], strict=True)]


def _above(first: Decimal | None, second: Decimal | None) -> bool:
    return first is not None and second is not None and first > second


@dataclasses.dataclass(frozen=True)
class Form:
    """One form of a loss: its name in the table of losses, its options, and how its reference is written."""

    loss: str
    reference: Callable[..., Number]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return " ".join([self.loss, *(f"{k}={v}" for k, v in self.options.items())])

    def exact(self, x: Numbers, given: Any) -> Number:
        options = {k: v if isinstance(v, str) else Decimal(str(v)) for k, v in self.options.items()}
        return self.reference(x, given, **options)


FORMS = [
    *(Form(f.__name__, f) for f in (sft, dpo, dcpo, npo, ipo, hinge, smpo, dmpo, capo, pso, mapo, livo)),
    Form("dapt", sft),
    Form("dpo", dpo, {"beta": 500.0, "smoothing": 0.125}),
    *(Form("mapo", mapo, {"form": form, "beta": beta}) for form in ("exponent", "factor") for beta in (8.0, 1024.0)),
    *(Form(f.__name__, f) for f in (kto, rankdpo, lpo, clip_align)),
]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One batch for a loss, the variables that its gradient is taken in, and per sample what the reference gets."""

    inputs: Any
    variables: tuple[torch.Tensor, ...]
    exact: list[tuple[list[Decimal], Any]]


def pairs(errors: torch.Tensor, p: torch.Tensor) -> Sample:
    """Rows of (chosen, rejected, reference chosen, reference rejected) and a probability or reward gap each."""
    columns = [c.clone() for c in errors.unbind(1)]
    chosen, rejected = (c.requires_grad_() for c in columns[:2])
    inputs = Errors(chosen, rejected, columns[2], columns[3], p, p)
    exact = [(decimals(row), Decimal(float(q))) for row, q in zip(errors, p, strict=True)]
    return Sample(inputs, (chosen, rejected), exact)


def singles(errors: torch.Tensor, desirable: torch.Tensor) -> Sample:
    """Rows of (error, reference error) and a label each; the batch's mean gain is a constant of the loss."""
    error, ref_error = (c.clone() for c in errors.unbind(1))
    divergence = max(Decimal(0), sum((row[1] - row[0] for row in map(decimals, errors)), Decimal(0)) / len(errors))
    exact = [(decimals(row), (bool(d), divergence)) for row, d in zip(errors, desirable, strict=True)]
    return Sample(Unpaired(error.requires_grad_(), ref_error, desirable), (error,), exact)


def lists(errors: torch.Tensor, relevance: torch.Tensor) -> Sample:
    """Rows of K errors and K of the reference's; relevance (B, K), NaN for an empty place."""
    error, ref_error = (c.clone() for c in errors.chunk(2, dim=1))
    given = [[None if r != r else Decimal(r) for r in row.tolist()] for row in relevance]
    exact = [(decimals(row), rel) for row, rel in zip(errors, given, strict=True)]
    return Sample(Ranked(error.requires_grad_(), ref_error, relevance), (error,), exact)


def similarities(values: torch.Tensor) -> Sample:
    """Rows of (similarity to the aligned description, to the violating one)."""
    aligned, violating = (c.clone().requires_grad_() for c in values.unbind(1))
    return Sample(Similarities(aligned, violating), (aligned, violating), [(decimals(r), None) for r in values])


def decimals(row: torch.Tensor) -> list[Decimal]:
    return [Decimal(value) for value in row.double().tolist()]


def samples(form: Form, dtype: torch.dtype, seed: int = 0) -> Iterator[Sample]:
    """Batches for a form: errors as they come in training, and every combination of 0, 1e-8, 0.1 and 10."""
    rng = torch.Generator().manual_seed(seed)
    everyday = 0.1 + 0.02 * torch.randn(24, 8, generator=rng, dtype=torch.float64).clamp(-3, 3)
    extremes = torch.tensor(list(itertools.product([0.0, 1e-8, 0.1, 10.0], repeat=4)), dtype=torch.float64)
    if form.loss == "kto":
        for errors in (everyday[:, :2], extremes[:, :2]):
            yield singles(errors.to(dtype), torch.rand(len(errors), generator=rng) < 0.5)
    elif form.loss in ("rankdpo", "lpo"):
        places = torch.tensor([0.9, 0.5, 0.5, 0.0, float("nan")], dtype=torch.float64)
        everyday = torch.cat([everyday, everyday[:, :2].flip(0)], dim=1)
        few = extremes[::5]
        for errors in (everyday, torch.cat([few, few.flip(1), few[:, :2]], dim=1)):
            order = torch.rand(len(errors), 5, generator=rng).argsort(1)
            yield lists(errors.to(dtype), places[order].to(dtype))
    elif form.loss == "clip_align":
        yield similarities((2 * torch.rand(64, 2, generator=rng, dtype=torch.float64) - 1).to(dtype))
    else:
        for errors in (everyday[:, :4], extremes):
            yield pairs(errors.to(dtype), torch.rand(len(errors), generator=rng).to(dtype))


def worst_errors(form: Form, dtype: torch.dtype) -> tuple[float, float]:
    """The largest relative error of the form's losses and of its gradients, over all samples.

    A gradient comes in the dtype of the errors, and is compared with the exact one rounded to it. In a list it is
    compared on the scale of the list's largest, since what pulls an image in the middle up and down may cancel.
    """
    worst_loss = worst_gradient = 0.0
    for sample in samples(form, dtype):
        outcome = LOSSES[form.loss].function(sample.inputs, **form.options)
        outcome.loss.sum().backward()
        exact = torch.tensor([float(form.exact(x, given)) for x, given in sample.exact], dtype=torch.float64)
        worst_loss = max(worst_loss, relative(outcome.loss.detach(), exact))
        gradients = torch.stack([torch.zeros_like(v) if v.grad is None else v.grad for v in sample.variables], dim=1)
        gradients = gradients.reshape(len(exact), -1)
        slopes = [[slope(form, x, given, i) for i in range(gradients.shape[1])] for x, given in sample.exact]
        rounded = torch.tensor(slopes, dtype=torch.float64).to(dtype)
        scale = rounded.abs().amax(1, keepdim=True) if isinstance(sample.inputs, Ranked) else rounded
        worst_gradient = max(worst_gradient, relative(gradients, rounded, scale))
    return worst_loss, worst_gradient


def slope(form: Form, x: list[Decimal], given: Any, place: int) -> float:
    """The derivative of a sample's exact loss in one of its errors."""
    above, below = ([v + sign * STEP * (i == place) for i, v in enumerate(x)] for sign in (1, -1))
    return float((form.exact(above, given) - form.exact(below, given)) / (2 * STEP))


def relative(measured: torch.Tensor, exact: torch.Tensor, scale: torch.Tensor | None = None) -> float:
    """The largest |measured - exact| / |scale|, the scale being `exact`; infinite where something is not finite."""
    size = (exact if scale is None else scale).double().abs().clamp(min=FLOOR)
    difference = (measured.double() - exact.double()).abs() / size
    return float(torch.where(difference.isfinite(), difference, torch.inf).max())
