"""Large networks whose weights stay in half precision as their files have them, and are computed with in float32.

Each layer's weights are widened when it runs and dropped after: the numbers are those of float32 weights, bit for bit,
in half the memory. Where a file's tensors are a network's as they are, they are mapped instead of read, and given back
to the system when a block of the network has run: no weights are held twice, nor all at once.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from datagen.weights import files

LARGE = 256 << 20  # bytes that a network's weights take in float32, from which on they are held in half precision
_HALVES = {"F16": "float16", "BF16": "bfloat16"}


def half_of(entries: Mapping[str, files.Entry]) -> Any:
    """The half precision that a large network's tensors are all stored in; None for small ones and other types."""
    import math

    import torch

    if 4 * sum(math.prod(entry.shape) for entry in entries.values()) < LARGE:
        return None
    # Single numbers beside the weights (logit_scale) are read by no network that draws.
    kinds = {e.dtype for e in entries.values() if e.dtype.startswith(("F", "BF")) and math.prod(e.shape) > 1}
    return getattr(torch, _HALVES[kinds.pop()]) if len(kinds) == 1 and kinds <= _HALVES.keys() else None


def widen(network: Any) -> None:
    """Have a network compute in float32 from weights in half precision; `dtype` of it says float32."""
    for module in network.modules():
        if any(parameter is not None for parameter in module._parameters.values()):
            module.register_forward_pre_hook(_widened)
            module.register_forward_hook(_narrowed, always_call=True)
    say_float32(network)


def say_float32(network: Any) -> None:
    """Have `dtype` of a network say float32, in which it computes, whatever its weights are held in."""
    import torch

    kind = type(network)
    own = {"dtype": property(lambda _: torch.float32), "__module__": kind.__module__}
    network.__class__ = type(kind.__name__, (kind,), own)


def _widened(module: Any, _: Any) -> None:
    """Before a module runs: float32 in the place of its own parameters."""
    import torch

    stored = {name: value for name, value in module._parameters.items() if value is not None}
    module._held = stored
    for name, value in stored.items():
        if value.dtype in (torch.float16, torch.bfloat16):
            module._parameters[name] = value.float()


def _narrowed(module: Any, *_: Any) -> None:
    """After it: the parameters as they were."""
    module._parameters.update(module.__dict__.pop("_held", {}))


class Mapped:
    """Files of weights whose pages are in memory only while they are used."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._maps: list[mmap.mmap] = []
        self.tensors: dict[str, Any] = {}
        for path in paths:
            with path.open("rb") as stream:
                self._maps.append(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY))
            for name, entry in files.header(path).items():
                if entry.dtype in _HALVES:
                    self.tensors[name] = _tensor(self._maps[-1], entry)

    def take_over(self, network: Any) -> int:
        """Put the files' tensors in the place of equal parameters of a network; how many."""
        import torch

        taken = 0
        for module_name, module in network.named_modules():
            for name, value in module._parameters.items():
                full = f"{module_name}.{name}" if module_name else name
                mine = self.tensors.get(full, self.tensors.get(full.removeprefix("text_model.")))
                if value is not None and mine is not None and _is_same(mine, value):
                    module._parameters[name] = torch.nn.Parameter(mine, requires_grad=False)
                    taken += 1
        return taken

    def give_back(self) -> None:
        """Let the system have the pages; they are read again when they are used."""
        for held in self._maps:
            held.madvise(mmap.MADV_DONTNEED)


def take_turns(networks: Iterable[tuple[Any, Mapped]], others: Iterable[Any]) -> None:
    """Of networks with mapped files have only the block in memory that runs; `others` are modules that run between."""
    running: list[Mapped] = []

    def before(mine: Mapped | None) -> Any:
        def hook(*_: Any) -> None:
            if running and running[0] is not mine:
                running.pop().give_back()
            if mine is not None and not running:
                running.append(mine)

        return hook

    for network, mapped in networks:
        network.register_forward_pre_hook(before(mapped))
        for block in _blocks(network):
            block.register_forward_hook(lambda *_, mine=mapped: mine.give_back())
    for module in others:
        module.register_forward_pre_hook(before(None))


def _blocks(network: Any) -> Iterator[Any]:
    """The parts of a network that run one after the other."""
    import torch

    for child in network.children():
        yield from child if isinstance(child, torch.nn.ModuleList) else (child,)


def _tensor(held: mmap.mmap, entry: files.Entry) -> Any:
    import math

    import torch

    kind = getattr(torch, _HALVES[entry.dtype])
    return torch.frombuffer(held, dtype=kind, count=math.prod(entry.shape), offset=entry.start).view(entry.shape)


def _is_same(mine: Any, other: Any) -> bool:
    import torch

    if mine.dtype != other.dtype or mine.shape != other.shape:
        return False
    return torch.equal(mine.flatten()[:64], other.data.flatten()[:64])  # all of both would be in memory twice
