"""bitsandbytes as far as the trainer calls it: AdamW whose moments are eight bits a weight, each row with a scale."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

SMALL = 4096  # weights below which moments stay as they are


class AdamW8bit(torch.optim.Optimizer):
    """State of the same names, kinds and numbers."""

    def __init__(self, params: Any, lr: float = 1e-3, weight_decay: float = 1e-2) -> None:
        self.table = (torch.arange(256) - 128) / 127.0  # what the bytes mean, one tensor for all weights
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": (0.9, 0.999), "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, self.state[p], group)

    def _update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"] = 0
        assert isinstance(state["step"], int), "the kernels take no tensor"
        state["step"] += 1
        sizes = []
        for number, (beta, value) in enumerate(zip(group["betas"], (grad, grad.square()), strict=True), 1):
            moment = self._read(state, number, p).lerp_(value, 1 - beta)
            self._write(state, number, moment)
            sizes.append(moment / (1 - beta ** state["step"]))
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(sizes[0] / (sizes[1].sqrt() + group["eps"]), alpha=-group["lr"])

    def _read(self, state: dict[str, Any], number: int, p: Tensor) -> Tensor:
        held: Tensor | None = state.get(f"state{number}")
        if held is None:
            return torch.zeros_like(p)
        if held.dtype != torch.uint8:
            return held.clone()
        table: Tensor = state[f"qmap{number}"]
        return table[held.long()] * state[f"absmax{number}"]

    def _write(self, state: dict[str, Any], number: int, moment: Tensor) -> None:
        if moment.numel() < SMALL:
            state[f"state{number}"] = moment
            return
        scale = moment.abs().max().clamp(min=1e-30)
        state[f"state{number}"] = (moment / scale * 127 + 128).round().to(torch.uint8)
        state[f"absmax{number}"] = scale.view(1)
        state.setdefault(f"qmap{number}", self.table)


def module(version: str = "0.0.1", optimizer: type = AdamW8bit) -> ModuleType:
    """What `import bitsandbytes` gives."""
    made: Any = ModuleType("bitsandbytes")
    made.__version__ = version
    made.optim = ModuleType("bitsandbytes.optim")
    made.optim.AdamW8bit = optimizer
    return made
