"""The losses in closed form: golden values, slopes, limits, symmetries, and what each refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.losses import LOSSES, Errors, Need, Outcome, Similarities
from training.losses.livo_paper import clip_align, dapt, livo
from training.losses.margin_aware import mapo, mapo_score
from training.losses.paired import capo, dcpo, dmpo, dpo, hinge, ipo, npo, pso, sft, smpo

# (m_w, m_l) → z, L, dL/dm_w, dL/dm_l of MaPO's released code; kappa 0.5, T 1000, beta 0.1, float64.
GOLDEN = [
    (0.10, 0.10, 0.000, 0.1693, 13.292, -12.292),
    (0.10, 0.11, 2.456, 0.1082, 2.942, -1.938),
    (0.10, 0.12, 4.908, 0.1007, 1.180, -0.180),
    (0.11, 0.10, -2.456, 0.3639, 23.603, -22.642),
    (0.13, 0.10, -7.356, 0.8657, 25.443, -24.568),
    (0.02, 0.021, 0.249, 0.0776, 11.914, -10.913),
]
# (form, beta) → dL/dm_w, dL/dm_l at m_w = 0.10, m_l = 0.11.
GOLDEN_PAPER = [
    ("exponent", 8.0, 1.168, -0.161),
    ("exponent", 32.0, 1.050, -0.043),
    ("exponent", 64.0, 1.010, -0.007),
    ("exponent", 1024.0, 1.000, 0.0),
    ("factor", 8.0, 1.237, -0.236),
    ("factor", 32.0, 1.223, -0.222),
    ("factor", 64.0, 1.205, -0.204),
    ("factor", 1024.0, 1.003, -0.003),
]
BY_LOGIT: dict[str, Callable[..., Outcome]] = {"dpo": dpo, "dcpo": dcpo, "npo": npo, "ipo": ipo, "hinge": hinge}
error = st.floats(0.0, 10.0, width=32)
near = st.floats(0.09, 0.11)  # as far apart as errors of one image are in training
probability = st.floats(0.0, 1.0)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def pair(chosen: float, rejected: float, ref_chosen: float = 0.1, ref_rejected: float = 0.1, **more: float) -> Errors:
    extra = {name: torch.tensor([value], dtype=torch.float64) for name, value in more.items()}
    return Errors(double(chosen), double(rejected), double(ref_chosen), double(ref_rejected), **extra)


def slopes(loss: Callable[..., Outcome], errors: Errors, **options: Any) -> tuple[float, float]:
    """dL/dm_w and dL/dm_l of one pair."""
    loss(errors, **options).loss.sum().backward()
    found = (0.0 if side.grad is None else float(side.grad) for side in (errors.chosen, errors.rejected))
    return next(found), next(found)


def value(loss: Callable[..., Outcome], errors: Any, **options: Any) -> float:
    return loss(errors, **options).loss.item()


# --- MaPO -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chosen", "rejected", "z", "loss", "slope_chosen", "slope_rejected"), GOLDEN)
def test_mapo_matches_the_golden_table(
    chosen: float, rejected: float, z: float, loss: float, slope_chosen: float, slope_rejected: float
) -> None:
    inner = 1000 * (mapo_score(double(0.5 * chosen)) - mapo_score(double(0.5 * rejected)))
    assert inner.item() == pytest.approx(z, abs=6e-4)
    errors = Errors(double(chosen), double(rejected))
    assert value(mapo, errors) == pytest.approx(loss, abs=6e-5)
    assert slopes(mapo, errors) == pytest.approx((slope_chosen, slope_rejected), abs=6e-4)


@pytest.mark.parametrize(("form", "beta", "slope_chosen", "slope_rejected"), GOLDEN_PAPER)
def test_mapos_paper_forms_match_their_table(
    form: str, beta: float, slope_chosen: float, slope_rejected: float
) -> None:
    found = slopes(mapo, Errors(double(0.10), double(0.11)), form=form, beta=beta)
    assert found == pytest.approx((slope_chosen, slope_rejected), abs=6e-4)


def test_mapo_at_equal_errors_near_zero() -> None:
    assert slopes(mapo, Errors(double(0.0), double(0.0))) == pytest.approx((13.5, -12.5))
    for form in ("exponent", "factor"):
        assert slopes(mapo, Errors(double(0.0), double(0.0)), form=form, beta=8.0) == pytest.approx((1.25, -0.25))


def test_mapos_slopes_stay_within_their_bounds() -> None:
    chosen, rejected = slopes(mapo, Errors(double(10.0), double(0.0)))
    assert rejected == pytest.approx(-25.0) and chosen < 26.0


@pytest.mark.parametrize(("form", "beta"), [("code", 64.0), ("exponent", 0.1), ("factor", 0.1)])
def test_mapo_refuses_a_beta_on_the_other_scale(form: str, beta: float) -> None:
    with pytest.raises(ValueError, match="scale of"):
        mapo(Errors(double(0.1), double(0.1)), form=form, beta=beta)


@given(st.floats(0.0, 1000.0))
def test_mapo_score_lies_between_0_and_1_and_falls(x: float) -> None:
    here = double(x)
    score = mapo_score(here)
    score.sum().backward()
    assert 0.0 <= score.item() <= 1.0
    assert here.grad is not None and -0.5 <= here.grad.item() <= 0.0


# --- closed forms and slopes of the others ----------------------------------------------------------------------

M = -0.0004  # a margin: with beta 5000 the logit is -1
Z = 2500 * M


@pytest.mark.parametrize(
    ("loss", "options", "expected"),
    [
        (dpo, {}, math.log1p(math.exp(-Z))),
        (dpo, {"smoothing": 0.1}, 0.9 * math.log1p(math.exp(-Z)) + 0.1 * math.log1p(math.exp(Z))),
        (dcpo, {"beta": 5000.0}, math.log1p(math.exp(-Z))),
        (npo, {"beta": 5000.0}, math.log1p(math.exp(Z))),
        (hinge, {}, 1 - Z),
        (ipo, {}, (2500 * M - 0.5) ** 2),
        (pso, {"beta": 200.0, "factor": 1.0}, math.log1p(math.exp(-200 * M))),
    ],
)
def test_closed_forms_at_a_margin(loss: Callable[..., Outcome], options: dict[str, float], expected: float) -> None:
    errors = pair(0.1002, 0.0998)
    assert value(loss, errors, **options) == pytest.approx(expected, rel=1e-9)


def test_closed_forms_that_read_more_than_errors() -> None:
    assert value(smpo, pair(0.1002, 0.0998, probability=0.75)) == pytest.approx(math.log1p(math.exp(-5 * Z)))
    assert value(capo, pair(0.1002, 0.0998, reward_gap=0.3)) == pytest.approx((0.3 - Z) ** 2)
    model = 1 / (1 + math.exp(-Z))
    divergence = model * math.log(model / 0.9) + (1 - model) * math.log((1 - model) / 0.1)
    assert value(dmpo, pair(0.1002, 0.0998), alpha=0.1) == pytest.approx(divergence)


@pytest.mark.parametrize(
    ("loss", "options", "at_certainty"),
    [
        (dpo, {}, 1250.0),
        (dcpo, {}, 125.0),
        (npo, {}, -250.0),
        (ipo, {}, 2500.0),
        (hinge, {}, 2500.0),
    ],
)
@given(p=probability)
def test_slopes_at_margin_0_scale_with_the_certainty_of_the_label(
    loss: Callable[..., Outcome], options: dict[str, float], at_certainty: float, p: float
) -> None:
    expected = (2 * p - 1) * at_certainty
    found = slopes(loss, pair(0.1, 0.1, probability=p), **options)
    assert found == pytest.approx((expected, -expected), abs=1e-9)


def test_slopes_at_margin_0_of_the_rest() -> None:
    assert slopes(dpo, pair(0.1, 0.1), smoothing=0.1) == pytest.approx((1000.0, -1000.0))
    assert slopes(smpo, pair(0.1, 0.1, probability=0.6)) == pytest.approx((2500.0, -2500.0))
    logit = 625 * math.log(99)
    assert slopes(dmpo, pair(0.1, 0.1)) == pytest.approx((logit, -logit))
    assert slopes(capo, pair(0.1, 0.1, reward_gap=0.3)) == pytest.approx((1500.0, -1500.0))
    assert slopes(pso, pair(0.1, 0.1)) == pytest.approx((100.0, -10.0))
    assert slopes(sft, pair(0.1, 0.1)) == slopes(dapt, pair(0.1, 0.1)) == (1.0, 0.0)


def test_livo_hinges_stop_at_their_margins() -> None:
    reference = double(0.2, 0.2, 0.2), double(0.3, 0.3, 0.3)
    # Both hinges active; chosen error below by more than gamma1/beta; rejected above by more than gamma2/alpha.
    m_w, m_l = double(0.2, 0.2 - 0.011, 0.2), double(0.3, 0.3, 0.3 + 0.021)
    outcome = livo(Errors(m_w, m_l, *reference), beta=100.0, alpha=50.0, gamma1=1.0, gamma2=1.0)
    assert outcome.loss.tolist() == pytest.approx([2.0, 1.0, 1.0])
    outcome.loss.sum().backward()
    assert m_w.grad is not None and m_w.grad.tolist() == [100.0, 0.0, 100.0]
    assert m_l.grad is not None and m_l.grad.tolist() == [-50.0, -50.0, 0.0]


def test_clip_align_is_clips_choice_between_two_descriptions() -> None:
    outcome = clip_align(Similarities(double(0.25, 0.30), double(0.25, 0.27)))
    assert outcome.loss.tolist() == pytest.approx([math.log(2), math.log1p(math.exp(-3))])
    assert outcome.margin.tolist() == pytest.approx([0.0, 0.03])
    even = Similarities(double(0.25), double(0.25))
    clip_align(even).loss.sum().backward()
    assert even.aligned.grad is not None and even.aligned.grad.item() == pytest.approx(-50.0)


# --- symmetries and limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_LOGIT)
@given(near, near, near, near, probability)
def test_a_swapped_label_is_a_swapped_pair(name: str, w: float, r: float, rw: float, rr: float, p: float) -> None:
    loss = BY_LOGIT[name]
    as_is = value(loss, pair(w, r, rw, rr, probability=p))
    assert as_is == pytest.approx(value(loss, pair(r, w, rr, rw, probability=1 - p)), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", BY_LOGIT)
@given(near, near, near, near)
def test_a_certain_label_is_no_label_at_all(name: str, w: float, r: float, rw: float, rr: float) -> None:
    loss = BY_LOGIT[name]
    assert value(loss, pair(w, r, rw, rr, probability=1.0)) == value(loss, pair(w, r, rw, rr))


@given(near, near, near, near, probability)
def test_npo_is_dpo_on_the_swapped_pair(w: float, r: float, rw: float, rr: float, p: float) -> None:
    swapped = dpo(pair(r, w, rr, rw, probability=p), beta=700.0)
    found = npo(pair(w, r, rw, rr, probability=p), beta=700.0)
    assert torch.equal(found.loss, swapped.loss) and torch.equal(found.margin, swapped.margin)


@given(near, near, near, near, probability)
def test_dcpo_is_dpo_on_its_own_errors(w: float, r: float, rw: float, rr: float, p: float) -> None:
    errors = pair(w, r, rw, rr, probability=p)
    assert value(dcpo, errors, beta=700.0) == value(dpo, errors, beta=700.0)


@given(near, near, near, near)
def test_smpo_between_no_pull_and_its_hard_form(w: float, r: float, rw: float, rr: float) -> None:
    assert slopes(smpo, pair(w, r, rw, rr, probability=0.5)) == (0.0, 0.0)
    hard = value(dpo, pair(w, r, rw, rr), beta=50000.0)
    assert value(smpo, pair(w, r, rw, rr, probability=1.0)) == pytest.approx(hard, rel=1e-9, abs=1e-300)


@given(near, near, near, near, probability)
def test_smpo_of_a_swapped_label_is_smpo_of_the_swapped_pair(
    w: float, r: float, rw: float, rr: float, p: float
) -> None:
    swapped = value(smpo, pair(r, w, rr, rw, probability=1 - p))
    assert value(smpo, pair(w, r, rw, rr, probability=p)) == pytest.approx(swapped, rel=1e-6, abs=1e-9)


@given(st.floats(0.0, 0.49))
def test_smoothing_is_a_probability_that_all_labels_share(smoothing: float) -> None:
    soft = value(dpo, pair(0.1001, 0.1, probability=1 - smoothing))
    assert value(dpo, pair(0.1001, 0.1), smoothing=smoothing) == pytest.approx(soft, rel=1e-12)


@given(st.floats(0.55, 0.99))
def test_soft_labels_end_the_pull_where_the_model_agrees_with_them(p: float) -> None:
    logit = math.log(p / (1 - p))
    agreeing = {"dpo": (dpo, 2 * logit / 5000), "ipo": (ipo, (2 * p - 1) / 5000)}
    for loss, margin in agreeing.values():
        found = slopes(loss, pair(0.1 - margin, 0.1, probability=p))
        assert found == pytest.approx((0.0, 0.0), abs=1e-6)
    assert slopes(dmpo, pair(0.1 - 2 * logit / 5000, 0.1), alpha=1 - p) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert value(dmpo, pair(0.1 - 2 * logit / 5000, 0.1), alpha=1 - p) == pytest.approx(0.0, abs=1e-12)


@given(near, near, near, near, probability)
def test_dmpo_is_a_divergence(w: float, r: float, rw: float, rr: float, p: float) -> None:
    errors = pair(w, r, rw, rr, probability=p)
    assert value(dmpo, errors) >= -1e-12
    assert value(dmpo, errors) == pytest.approx(value(dmpo, pair(r, w, rr, rw, probability=1 - p)), rel=1e-6, abs=1e-9)


def test_square_and_hinge_stop_where_dpo_runs_on() -> None:
    assert slopes(ipo, pair(0.0998, 0.1)) == pytest.approx((0.0, 0.0), abs=1e-6)  # h = 1/(2 beta)
    assert slopes(hinge, pair(0.09, 0.1)) == (0.0, 0.0)
    assert slopes(capo, pair(0.1 - 0.3 / 2500, 0.1, reward_gap=0.3)) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert slopes(dpo, pair(0.0998, 0.1))[0] > 0


@pytest.mark.parametrize("name", [n for n, loss in LOSSES.items() if not loss.needs - {Need.REFERENCE}])
@given(error, error, error, error)
def test_pair_losses_and_gradients_are_finite_and_never_punish_a_better_chosen_image(
    name: str, w: float, r: float, rw: float, rr: float
) -> None:
    loss = LOSSES[name].function
    outcome = loss(pair(w, r, rw, rr))
    chosen, rejected = slopes(loss, pair(w, r, rw, rr))
    assert outcome.loss.isfinite().all() and math.isfinite(chosen) and math.isfinite(rejected)
    if name not in ("npo", "ipo", "dmpo"):  # these turn round: on purpose, or past their minimum
        assert chosen >= 0 and rejected <= 0


# --- what losses refuse -----------------------------------------------------------------------------------------


def is_of_pairs(name: str) -> bool:
    return not LOSSES[name].needs & {Need.SINGLE_IMAGES, Need.LISTS, Need.SIMILARITIES}


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.needs_reference and is_of_pairs(name)])
def test_a_loss_with_a_reference_says_so_when_there_is_none(name: str) -> None:
    ones = torch.ones(1)
    with pytest.raises(ValueError, match="reference"):
        LOSSES[name].function(Errors(ones, ones, probability=ones, reward_gap=ones))


def test_a_loss_that_lacks_a_column_says_so() -> None:
    with pytest.raises(ValueError, match="probability"):
        smpo(pair(0.1, 0.1))
    with pytest.raises(ValueError, match="calibrated rewards"):
        capo(pair(0.1, 0.1))


@pytest.mark.parametrize(
    ("loss", "options"), [(dpo, {"smoothing": 0.5}), (dmpo, {"alpha": 0.0}), (dmpo, {"alpha": 1})]
)
def test_options_without_sense_are_refused(loss: Callable[..., Outcome], options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"should be (less|greater) than 0"):
        loss(pair(0.1, 0.1), **options)


def test_the_table_says_what_each_loss_needs() -> None:
    assert LOSSES["mapo"].needs == LOSSES["sft"].needs == frozenset()
    assert LOSSES["dpo"].needs == {Need.REFERENCE} and LOSSES["dpo"].soft
    assert LOSSES["smpo"].needs == {Need.REFERENCE, Need.PROBABILITY}
    assert LOSSES["kto"].needs == {Need.REFERENCE, Need.SINGLE_IMAGES}
    assert LOSSES["lpo"].needs == LOSSES["rankdpo"].needs == {Need.REFERENCE, Need.LISTS}
    assert LOSSES["dcpo"].needs == {Need.REFERENCE, Need.CAPTIONS}
    assert LOSSES["livo"].part == "value-encoder" and LOSSES["dpo"].part is None
    assert LOSSES["mapo"].option_names == ("beta", "kappa", "timescale", "form")
