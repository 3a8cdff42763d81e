"""A YOLOv8 at random, as narrow as it goes, in an ONNX file as NudeNet publishes one: names, sizes and metadata."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.onnx._internal.torchscript_exporter import onnx_proto_utils

BINS = 16  # of the distribution of each side of a box


class Conv(nn.Module):
    """A convolution, batch normalisation and SiLU."""

    def __init__(self, into: int, out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.bn(self.conv(x)))


class C2f(nn.Module):
    """Two halves, of which the second goes on through bottlenecks; all are joined."""

    def __init__(self, into: int, out: int, shortcut: bool) -> None:
        super().__init__()
        self.half, self.shortcut = out // 2, shortcut
        self.cv1, self.cv2 = Conv(into, out), Conv(3 * self.half, out)
        self.m = nn.Sequential(Conv(self.half, self.half, 3), Conv(self.half, self.half, 3))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.cv1(x).split(self.half, 1)
        third = self.m(second) + second if self.shortcut else self.m(second)
        return self.cv2(torch.cat([first, second, third], 1))


class SPPF(nn.Module):
    """Three poolings in a row, joined."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(width, width // 2), Conv(2 * width, width)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        steps = [self.cv1(x)]
        for _ in range(3):
            steps.append(self.m(steps[-1]))
        return self.cv2(torch.cat(steps, 1))


class Yolo(nn.Module):
    """Backbone, neck and head; (N, 3, S, S) → (N, 4 + classes, anchors)."""

    def __init__(self, classes: int, width: int = 4) -> None:
        super().__init__()
        w = [width, 2 * width, 4 * width, 8 * width, 16 * width]
        self.stem = nn.Sequential(Conv(3, w[0], 3, 2), Conv(w[0], w[1], 3, 2), C2f(w[1], w[1], True))
        self.eight = nn.Sequential(Conv(w[1], w[2], 3, 2), C2f(w[2], w[2], True))
        self.sixteen = nn.Sequential(Conv(w[2], w[3], 3, 2), C2f(w[3], w[3], True))
        self.last = nn.Sequential(Conv(w[3], w[4], 3, 2), C2f(w[4], w[4], True), SPPF(w[4]))
        self.up = nn.Upsample(scale_factor=2)
        self.top_down = nn.ModuleList([C2f(w[4] + w[3], w[3], False), C2f(w[3] + w[2], w[2], False)])
        self.down = nn.ModuleList([Conv(w[2], w[2], 3, 2), Conv(w[3], w[3], 3, 2)])
        self.bottom_up = nn.ModuleList([C2f(w[2] + w[3], w[3], False), C2f(w[3] + w[4], w[4], False)])
        self.cv2, self.cv3 = (
            nn.ModuleList([nn.Sequential(Conv(n, 16, 3), Conv(16, 16, 3), nn.Conv2d(16, out, 1)) for n in w[2:]])
            for out in (4 * BINS, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        eight = self.eight(self.stem(x))
        sixteen = self.sixteen(eight)
        last = self.last(sixteen)
        middle = self.top_down[0](torch.cat([self.up(last), sixteen], 1))
        small = self.top_down[1](torch.cat([self.up(middle), eight], 1))
        middle = self.bottom_up[0](torch.cat([self.down[0](small), middle], 1))
        large = self.bottom_up[1](torch.cat([self.down[1](middle), last], 1))
        return torch.cat([self._boxes(level, n) for n, level in enumerate([small, middle, large])], 2)

    def _boxes(self, level: Tensor, n: int) -> Tensor:
        stride, (high, wide) = 8 * 2**n, level.shape[2:]
        shares = self.cv2[n](level).reshape(-1, 4, BINS, high * wide).softmax(2)
        left, top, right, bottom = (shares * torch.arange(float(BINS))[:, None]).sum(2).unbind(1)
        y, x = torch.meshgrid(torch.arange(high) + 0.5, torch.arange(wide) + 0.5, indexing="ij")
        x, y = x.reshape(-1), y.reshape(-1)
        boxes = [x + (right - left) / 2, y + (bottom - top) / 2, left + right, top + bottom]
        return torch.cat([torch.stack(boxes, 1) * stride, self.cv3[n](level).flatten(2).sigmoid()], 1)


def network(classes: int, seed: int = 0) -> Yolo:
    """Sure of something in some places of any picture, and unsure in most."""
    torch.manual_seed(seed)
    made = Yolo(classes)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made(torch.rand(2, 3, 320, 320))  # what it normalises by is that of noise
        for branch in made.cv3:
            last: Any = branch[-1]  # type: ignore[index]
            last.weight.mul_(2)
            last.bias.fill_(-5)
    return made.eval()


def export(path: Path, made: nn.Module, side: int = 320, **said: Any) -> Path:
    """The ONNX file; `said` is its metadata."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        names: dict[str, Any] = {"input_names": ["images"], "output_names": ["output0"], "dynamo": False}
        axes = {"images": {0: "batch"}, "output0": {0: "batch"}}
        # torch asks the package onnx to add functions to the file, of which there are none.
        with mock.patch.object(onnx_proto_utils, "_add_onnxscript_fn", lambda content, functions: content):
            torch.onnx.export(
                made, (torch.zeros(1, 3, side, side),), path, dynamic_axes=axes, opset_version=17, **names
            )
    with path.open("ab") as file:
        for key, value in said.items():
            entry = _field(1, key.encode()) + _field(2, str(value).encode())
            file.write(_field(14, entry))
    return path


def _field(number: int, content: bytes) -> bytes:
    """Bytes as a field of a protocol buffer; ONNX's metadata_props are its field 14."""
    found, length = bytearray([number << 3 | 2]), len(content)
    while length > 127:
        found.append(length & 127 | 128)
        length >>= 7
    return bytes(found + bytes([length]) + content)
