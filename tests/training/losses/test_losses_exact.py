"""Every form of every loss against its textbook formula in 80-digit arithmetic, in the precisions of training."""

from __future__ import annotations

import pytest
import torch

from benchmarks.support.loss_reference import FORMS, Form, samples, worst_errors
from training.losses import LOSSES

BF16_STEP = 2.0**-8


def test_every_loss_has_a_reference() -> None:
    assert {form.loss for form in FORMS} == set(LOSSES)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_float32_errors_give_the_exact_loss_and_gradient(form: Form) -> None:
    assert max(worst_errors(form, torch.float32)) <= 1e-6


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_bf16_errors_give_the_exact_loss_and_the_gradient_that_bf16_can_hold(form: Form) -> None:
    loss, gradient = worst_errors(form, torch.bfloat16)
    assert loss <= 1e-6
    assert gradient <= BF16_STEP


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_inputs_are_left_alone_and_the_loss_is_per_sample(form: Form) -> None:
    for sample in samples(form, torch.float32):
        before = [v.detach().clone() for v in sample.variables]
        outcome = LOSSES[form.loss].function(sample.inputs, **form.options)
        assert outcome.loss.shape == outcome.margin.shape == (len(sample.exact),)
        assert outcome.loss.isfinite().all() and outcome.margin.isfinite().all()
        assert all(torch.equal(v, b) for v, b in zip(sample.variables, before, strict=True))
