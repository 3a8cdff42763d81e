"""Attention that shares texts gives the numbers of diffusers' attention on texts repeated for every image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor

from training.models import attention

TEXTS = 3
ROWS = torch.tensor([0, 1, 2, 0, 1, 2, 1])


def layer(**more: Any) -> Attention:
    torch.manual_seed(0)
    return Attention(query_dim=8, cross_attention_dim=6, heads=2, dim_head=4, **more)


def answers(model: Attention, images: Tensor, texts: Tensor | None, **more: Any) -> tuple[Tensor, ...]:
    """Output, and gradients of every weight."""
    output = model(images, texts, **more)
    return output, *torch.autograd.grad(output.square().sum(), list(model.parameters()))


@pytest.mark.parametrize("masked", [False, True])
def test_texts_that_are_shared_give_the_numbers_of_repeated_ones(masked: bool) -> None:
    images, texts = torch.randn(len(ROWS), 5, 8), torch.randn(TEXTS, 4, 6)
    mask = torch.zeros(TEXTS, 1, 4)
    mask[1, 0, 2:] = -10_000.0
    model, bias = layer(), mask if masked else None
    wanted = answers(model, images, texts[ROWS], attention_mask=None if bias is None else bias[ROWS])
    attention.share_texts(model)
    found = answers(model, images, texts, attention_mask=bias, text_rows=ROWS)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_without_rows_it_is_diffusers_attention_bit_for_bit() -> None:
    images, texts = torch.randn(3, 5, 8), torch.randn(TEXTS, 4, 6)
    model = layer()
    wanted = answers(model, images, texts)
    attention.share_texts(model)
    assert type(model) is attention.SharedTextAttention
    torch.testing.assert_close(answers(model, images, texts), wanted, rtol=0, atol=0)


def test_attention_to_oneself_reads_no_texts() -> None:
    torch.manual_seed(0)
    model, images = Attention(query_dim=8, heads=2, dim_head=4), torch.randn(len(ROWS), 5, 8)
    wanted = answers(model, images, None)
    attention.share_texts(model)
    torch.testing.assert_close(answers(model, images, None, text_rows=ROWS), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("more", [{"norm_num_groups": 2}, {"residual_connection": True}, {"qk_norm": "layer_norm"}])
def test_attention_that_does_more_is_left_alone(more: dict[str, Any]) -> None:
    model = layer(**more)
    attention.share_texts(model)
    assert type(model) is Attention


def test_attention_with_a_processor_of_its_own_is_left_alone() -> None:
    model = layer(processor=AttnProcessor())
    attention.share_texts(model)
    assert type(model) is Attention
