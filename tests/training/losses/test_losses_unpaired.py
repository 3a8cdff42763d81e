"""The losses on single images and on ranked lists in closed form: pulls, ties, empty places, reduction to pairs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.losses import Errors, Outcome, Ranked, Unpaired
from training.losses.paired import dpo
from training.losses.ranked import lpo, rankdpo
from training.losses.unpaired import kto

NAN = float("nan")
error = st.floats(0.0, 10.0, width=32)
near = st.floats(0.09, 0.11)  # as far apart as errors of one image are in training


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


# --- single images ----------------------------------------------------------------------------------------------


def singles(errors: list[float], references: list[float], desirable: list[bool]) -> Unpaired:
    return Unpaired(double(*errors), double(*references), torch.tensor(desirable))


def test_kto_pulls_desirable_images_and_pushes_the_others() -> None:
    images = singles([0.1, 0.1], [0.1, 0.1], [True, False])
    outcome = kto(images, beta=1000.0, undesirable_weight=2.0)
    assert outcome.loss.tolist() == pytest.approx([0.5, 1.0])
    outcome.loss.sum().backward()
    assert images.error.grad is not None and images.error.grad.tolist() == pytest.approx([250.0, -500.0])


def test_kto_measures_gains_against_the_batch_and_never_against_a_loss() -> None:
    ahead = kto(singles([0.098, 0.1], [0.1, 0.1], [True, True]))  # mean gain 0.001
    assert ahead.margin.tolist() == pytest.approx([0.001, -0.001])
    assert ahead.loss.tolist() == pytest.approx([1 / (1 + math.e), 1 / (1 + 1 / math.e)])
    behind = kto(singles([0.102, 0.1], [0.1, 0.1], [True, True]))
    assert behind.margin.tolist() == pytest.approx([-0.002, 0.0])


@given(st.lists(st.tuples(error, error, st.booleans()), min_size=1, max_size=6))
def test_kto_of_swapped_labels_adds_up_to_one(images: list[tuple[float, float, bool]]) -> None:
    errors, references, desirable = (list(column) for column in zip(*images, strict=True))
    total = kto(singles(errors, references, desirable)).loss
    total = total + kto(singles(errors, references, [not d for d in desirable])).loss
    assert total.tolist() == pytest.approx([1.0] * len(images))


# --- ranked lists -----------------------------------------------------------------------------------------------


def ranked(errors: list[float], relevance: list[float]) -> Ranked:
    return Ranked(double(*errors)[None], torch.full((1, len(errors)), 0.1), torch.tensor([relevance]))


@given(near, near)
def test_a_list_of_two_is_a_pair(better: float, worse: float) -> None:
    hard = dpo(Errors(double(better), double(worse), double(0.1), double(0.1))).loss.item()
    assert lpo(ranked([worse, better], [0.2, 0.9])).loss.item() == pytest.approx(hard, rel=1e-6)
    weight = (2**0.75 - 2**0.25) * (1 / math.log(2) - 1 / math.log(3))
    assert rankdpo(ranked([worse, better], [0.25, 0.75])).loss.item() == pytest.approx(weight * hard, rel=1e-6)


@pytest.mark.parametrize("loss", [rankdpo, lpo])
@given(st.permutations(range(4)), st.lists(near, min_size=4, max_size=4))
def test_places_in_a_list_and_empty_ones_do_not_matter(
    loss: Callable[..., Outcome], order: list[int], errors: list[float]
) -> None:
    relevance = [1.0, 0.5, 0.5, 0.0]
    first = loss(ranked(errors, relevance))
    second = loss(ranked([*(errors[i] for i in order), NAN], [*(relevance[i] for i in order), NAN]))
    assert second.loss.item() == pytest.approx(first.loss.item(), rel=1e-9)
    assert second.margin.item() == pytest.approx(first.margin.item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", [rankdpo, lpo])
def test_a_list_of_ties_has_no_pull(loss: Callable[..., Outcome]) -> None:
    errors = torch.tensor([[0.1, 0.2, 0.3]], requires_grad=True)
    outcome = loss(Ranked(errors, torch.zeros(1, 3), torch.full((1, 3), 0.5)))
    outcome.loss.sum().backward()
    assert outcome.loss.item() == outcome.margin.item() == 0.0
    assert errors.grad is not None and not errors.grad.any()


def test_lists_at_equal_errors_in_closed_form() -> None:
    assert lpo(ranked([0.1, 0.1, 0.1], [0.9, 0.5, 0.1])).loss.item() == pytest.approx(math.log(6))  # 3! orders
    errors = torch.full((1, 3), 0.1, requires_grad=True)
    lpo(Ranked(errors, torch.full((1, 3), 0.1), torch.tensor([[0.9, 0.5, 0.1]]))).loss.sum().backward()
    assert errors.grad is not None
    # n_i worse images: 2, 1, 0. beta/2 (n/(n + 1) - sum of 1/(n_k + 1) over the better).
    assert errors.grad.tolist()[0] == pytest.approx([2500 * 2 / 3, 2500 * (1 / 2 - 1 / 3), -2500 * (1 / 3 + 1 / 2)])


@pytest.mark.parametrize("loss", [rankdpo, lpo])
def test_an_empty_place_takes_no_gradient_and_gives_none(loss: Callable[..., Outcome]) -> None:
    errors = torch.tensor([[0.1, 0.2, NAN]], requires_grad=True)
    loss(Ranked(errors, torch.zeros(1, 3), torch.tensor([[0.0, 1.0, NAN]]))).loss.sum().backward()
    assert errors.grad is not None
    assert errors.grad[0, :2].isfinite().all() and errors.grad[0, :2].any() and not errors.grad[0, 2]
