"""One process or several (accelerate): which one this is, its slice of a batch, sums over all.

With one process nothing here does anything. Losses and gradients are sums over the batch of all processes, so the
number of processes changes nothing but rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.errors import TrainingError
from training.models.diffusion import pick_device

BUCKET = 64 * 2**20  # bytes of gradients sent at once


@dataclasses.dataclass(frozen=True)
class Team:
    """Process `process_index` of `num_processes`; `fsdp_plugin` is accelerate's, where it was asked for FSDP."""

    device: torch.device
    process_index: int = 0
    num_processes: int = 1
    fsdp_plugin: Any = None

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.process_index == 0

    def local_slice(self, batch: int) -> range:
        """This process's places of the batch."""
        return range(
            batch * self.process_index // self.num_processes, batch * (self.process_index + 1) // self.num_processes
        )

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.num_processes > 1:
            dist.all_reduce(values)
        return values

    def any(self, mine: bool) -> bool:
        """Whether it is true in any process. Sent between CPUs, not accelerators."""
        if self.num_processes == 1:
            return mine
        flag = torch.tensor(int(mine))
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=_cpu_group())
        return bool(flag)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.num_processes > 1:
            dist.barrier(group=_cpu_group())

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up the gradients of all processes; those of sharded weights were added up in the backward pass."""
        if self.num_processes == 1:
            return
        bucket: list[Tensor] = []
        size = 0
        for parameter in parameters:
            if is_sharded(parameter):
                continue
            if parameter.grad is None:  # all processes must send the same
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            size += parameter.grad.nbytes
            if size >= BUCKET:
                self._sum_bucket(bucket)
                bucket, size = [], 0
        self._sum_bucket(bucket)

    def _sum_bucket(self, gradients: list[Tensor]) -> None:
        if not gradients:
            return
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))


_groups: dict[int, Any] = {}


def _cpu_group() -> Any:
    """The group for messages between CPUs; a backend of accelerators would wait for these."""
    default = dist.distributed_c10d._get_default_group()
    if dist.get_backend() == "gloo":
        return default
    if id(default) not in _groups:
        _groups[id(default)] = dist.new_group(backend="gloo")
    return _groups[id(default)]


@contextlib.contextmanager
def init_processes(device: str) -> Iterator[Team]:
    """This process's place among those that `accelerate launch` or `torchrun` started; alone without them."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team(pick_device(device))
        return
    if device not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"--device {device} is one device, and several processes share them out: use auto or cpu")
    import accelerate

    state = accelerate.PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    sharded = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    plugin = accelerate.FullyShardedDataParallelPlugin() if sharded else None
    try:
        yield Team(state.device, state.process_index, state.num_processes, plugin)
    finally:
        state.destroy_process_group()


def shard(modules: Sequence[nn.Module], team: Team, precision: str) -> None:
    """Shard the weights of U-Nets over all processes, in place (torch's FSDP 2), block by block.

    Gradients are then summed over the processes and sharded as the weights are.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    half = torch.bfloat16 if precision == "bf16" else None
    settings: dict[str, Any] = {
        "reshard_after_forward": bool(team.fsdp_plugin.reshard_after_forward),
        "mp_policy": MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32),
        "offload_policy": team.fsdp_plugin.cpu_offload,
        "mesh": init_device_mesh(team.device.type, (team.num_processes,)),
    }
    for module in modules:
        blocks: list[Any] = [*module.get_submodule("down_blocks").children(), module.get_submodule("mid_block")]
        for part in [*blocks, *module.get_submodule("up_blocks").children(), module]:
            sharded = fully_shard(part, **settings)
            sharded.set_gradient_divide_factor(1.0)  # sums, as everywhere here
            sharded.set_force_sum_reduction_for_comms(True)


@contextlib.contextmanager
def unsharded(module: Any, team: Team) -> Iterator[None]:
    """Let the main process save a module as if it had never been sharded; all processes must call this."""
    if not hasattr(module, "unshard"):
        yield
        return
    state: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        piece = full_tensor(value)
        if team.is_main_process:
            state[name] = piece.cpu()
    kind = type(module)
    module.__class__ = kind.__bases__[1]  # its name is saved with it
    module.state_dict = lambda *args, **kwargs: state
    try:
        yield
    finally:
        del module.state_dict
        module.__class__ = kind


def is_sharded(values: Tensor) -> bool:
    """Whether this is torch's DTensor; asked without its import, which takes seconds."""
    return hasattr(values, "full_tensor")


def full_tensor(values: Tensor) -> Tensor:
    """A tensor in one piece, sharded or not."""
    sharded: Any = values
    full: Tensor = sharded.full_tensor() if is_sharded(values) else values
    return full


def shard_like(values: Tensor, example: Tensor) -> Tensor:
    """A tensor in one piece, on the device of `example` and sharded over the processes as that is."""
    values = values.to(example.device)
    if not is_sharded(example):
        return values
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(example, DTensor)
    return distribute_tensor(values, example.device_mesh, example.placements)
