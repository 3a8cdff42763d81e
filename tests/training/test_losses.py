"""Closed forms of the losses: golden values, slopes, ties, extremes."""

from __future__ import annotations

import math

import pytest
import torch

from training.losses import LOSSES, Errors, dpo, livo, mapo, mapo_score, sft

# (m_w, m_l) → z, L, dL/dm_w, dL/dm_l of MaPO's released code; kappa 0.5, T 1000, beta 0.1, float64.
GOLDEN = [
    (0.10, 0.10, 0.000, 0.1693, 13.292, -12.292),
    (0.10, 0.11, 2.456, 0.1082, 2.942, -1.938),
    (0.10, 0.12, 4.908, 0.1007, 1.180, -0.180),
    (0.11, 0.10, -2.456, 0.3639, 23.603, -22.642),
    (0.13, 0.10, -7.356, 0.8657, 25.443, -24.568),
    (0.02, 0.021, 0.249, 0.0776, 11.914, -10.913),
]


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(("chosen", "rejected", "z", "loss", "slope_chosen", "slope_rejected"), GOLDEN)
def test_mapo_matches_the_golden_table(
    chosen: float, rejected: float, z: float, loss: float, slope_chosen: float, slope_rejected: float
) -> None:
    m_w, m_l = double(chosen), double(rejected)
    outcome = mapo(Errors(m_w, m_l))
    outcome.loss.sum().backward()
    inner = 1000 * (mapo_score(0.5 * m_w) - mapo_score(0.5 * m_l))
    assert inner.item() == pytest.approx(z, abs=6e-4)
    assert outcome.loss.item() == pytest.approx(loss, abs=6e-5)
    assert m_w.grad is not None and m_w.grad.item() == pytest.approx(slope_chosen, abs=6e-4)
    assert m_l.grad is not None and m_l.grad.item() == pytest.approx(slope_rejected, abs=6e-4)


def test_mapo_score_is_exact_in_float32_and_finite_at_zero() -> None:
    x = torch.tensor([0.0, 1e-8, 1e-5, 1e-4, 1e-2, 1.0, 10.0], requires_grad=True)
    exact = [1.0] + [float(v.double() / torch.expm1(v.double())) for v in x[1:].detach()]
    score = mapo_score(x)
    assert score.tolist() == pytest.approx(exact, rel=1e-6)
    score.sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert x.grad[0].item() == pytest.approx(-0.5)


def test_dpo_reads_only_differences_to_the_reference() -> None:
    errors = Errors(double(0.10, 0.2), double(0.13, 0.2), double(0.11, 0.2), double(0.12, 0.2))
    outcome = dpo(errors, beta=100.0)
    margin = (0.13 - 0.10) - (0.12 - 0.11)
    assert outcome.margin.tolist() == pytest.approx([margin, 0.0])
    assert outcome.loss.tolist() == pytest.approx([math.log1p(math.exp(-50 * margin)), math.log(2)])
    outcome.loss.sum().backward()
    assert errors.chosen.grad is not None and errors.chosen.grad[1].item() == pytest.approx(25.0)


def test_livo_hinges_stop_at_their_margins() -> None:
    reference = double(0.2, 0.2, 0.2), double(0.3, 0.3, 0.3)
    # Both hinges active; chosen error below by more than gamma1/beta; rejected above by more than gamma2/alpha.
    m_w, m_l = double(0.2, 0.2 - 0.011, 0.2), double(0.3, 0.3, 0.3 + 0.021)
    outcome = livo(Errors(m_w, m_l, *reference), beta=100.0, alpha=50.0, gamma1=1.0, gamma2=1.0)
    assert outcome.loss.tolist() == pytest.approx([2.0, 1.0, 1.0])
    outcome.loss.sum().backward()
    assert m_w.grad is not None and m_w.grad.tolist() == [100.0, 0.0, 100.0]
    assert m_l.grad is not None and m_l.grad.tolist() == [-50.0, -50.0, 0.0]


def test_sft_ignores_the_rejected_image() -> None:
    m_w, m_l = double(0.5), double(0.1)
    sft(Errors(m_w, m_l)).loss.sum().backward()
    assert m_l.grad is None
    assert m_w.grad is not None and m_w.grad.item() == 1.0


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.needs_reference])
def test_a_loss_with_a_reference_says_so_when_there_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="reference"):
        LOSSES[name].function(Errors(double(0.1), double(0.1)))


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("error", [0.0, 1e-8, 10.0])
def test_losses_and_gradients_are_finite_at_extremes(name: str, error: float) -> None:
    values = [torch.tensor([error, error], requires_grad=True) for _ in range(2)]
    outcome = LOSSES[name].function(Errors(values[0], values[1], torch.zeros(2), torch.ones(2)))
    outcome.loss.sum().backward()
    assert outcome.loss.shape == outcome.margin.shape == (2,)
    assert torch.isfinite(outcome.loss).all()
    assert all(torch.isfinite(v.grad).all() for v in values if v.grad is not None)
