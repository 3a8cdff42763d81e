"""Sparing layers give the numbers of the layers they stand for, and keep less."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from training.models import activations


def kept(model: nn.Module, given: tuple[Tensor, ...]) -> tuple[int, Tensor]:
    """Bytes that autograd saves of one call besides the weights, and the output."""
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(given[0].clone().requires_grad_(), *given[1:])
    return sum(held.values()), output


def layers() -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    torch.manual_seed(0)
    images, time = torch.randn(2, 4, 9, 9), torch.randn(2, 5)
    block: dict[str, Any] = {"in_channels": 4, "temb_channels": 5, "groups": 2}
    return {
        "convolution": (nn.Conv2d(4, 6, 3, padding=1), (images,)),
        "with a stride": (nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), (images,)),
        "in groups": (nn.Conv2d(4, 8, 3, groups=2, dilation=2), (images,)),
        "residual block": (ResnetBlock2D(**block), (images, time)),
        "residual block with a shortcut": (ResnetBlock2D(**block, out_channels=6), (images, time)),
        "feed-forward": (FeedForward(5, activation_fn="geglu"), (torch.randn(2, 7, 5),)),
    }


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", list(layers()))
def test_numbers_are_the_same(name: str, trained: bool, precision: str) -> None:
    plain, given = layers()[name]
    plain.requires_grad_(trained)
    sparing = copy.deepcopy(plain)
    activations.save_memory(sparing)
    assert type(sparing) is not type(plain) and isinstance(sparing, type(plain))
    assert list(sparing.state_dict()) == list(plain.state_dict())
    found: list[Any] = []
    for model in (plain, sparing):
        source = given[0].clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            output = model(source, *given[1:])
        gradients = torch.autograd.grad(
            output.float().square().sum(), [source, *(model.parameters() if trained else ())]
        )
        found.append((output, gradients))
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "trained", "share"),
    [
        ("convolution", False, 0.0),
        ("residual block", False, 0.55),
        ("residual block", True, 0.7),
        ("feed-forward", False, 2 / 3),
        ("feed-forward", True, 0.55),
    ],
)
def test_less_is_kept(name: str, trained: bool, share: float) -> None:
    plain, given = layers()[name]
    plain.requires_grad_(trained)
    sparing = copy.deepcopy(plain)
    activations.save_memory(sparing)
    before, _ = kept(plain, given)
    after, _ = kept(sparing, given)
    assert before > 0 and after <= share * before


def test_trained_convolutions_and_other_paddings_are_left_as_they_are() -> None:
    reflecting = nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")
    activations.save_memory(reflecting)
    assert type(reflecting) is nn.Conv2d
    trained, given = layers()["convolution"]
    activations.save_memory(trained)
    bytes_kept, _ = kept(trained, given)
    assert bytes_kept >= given[0].nbytes


def test_nothing_is_kept_without_gradients() -> None:
    for model, given in layers().values():
        expected = model(*given)
        activations.save_memory(model)
        with torch.no_grad():
            torch.testing.assert_close(model(*given), expected.detach(), rtol=0, atol=0)
