"""One optimizer step: gradients of a whole batch, piece by piece; then clip, step, average.

However the batch is cut, into micro-batches or between processes, losses and gradients are those of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from training.loop import optimizers
from training.loop.batches import TrainingBatch
from training.loop.distributed import Team, is_sharded
from training.loop.objective import Objective, Scored, gains
from training.settings.training import Optimizer, Settings
from training.trainables import Step, Trainable

CLIP_NORM = 1.0
AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Update:
    """The optimizer of a trainable's weights. `get_batch` makes the samples of a step at given places of the batch."""

    def __init__(
        self,
        trainable: Trainable,
        get_batch: Callable[[int, range], TrainingBatch],
        objective: Objective,
        settings: Settings,
        team: Team,
    ) -> None:
        self.trainable, self.get_batch, self.objective = trainable, get_batch, objective
        self.settings, self.team = settings, team
        self.precision = pick_precision(settings.run.precision, team.device)
        self.places = team.local_slice(settings.optimizer.batch)
        self.micro = min(settings.job.micro_batch or len(self.places), len(self.places))
        self.weights: list[nn.Parameter] = trainable.parameters()
        self.optimizer = optimizers.make(settings.optimizer, self.weights, team.device)
        self.scaler = torch.amp.GradScaler(team.device.type, enabled=self.precision == "fp16")
        self.ema_weights = [weight.detach().clone() for weight in self.weights] if settings.optimizer.ema else None

    def __call__(self, step: int) -> tuple[list[Scored], Tensor]:
        """Do step number `step`: what was scored in this process, and the gradient's norm before clipping."""
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.settings.optimizer, step)
        scored = self._gradients(step)
        self.team.sum_gradients(self.weights)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.weights, CLIP_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema_weights is not None:
            decay = min(self.settings.optimizer.ema, (1 + step) / (10 + step))  # as diffusers' EMAModel begins
            torch._foreach_lerp_(self.ema_weights, [weight.detach() for weight in self.weights], 1 - decay)
        return scored, norm

    @property
    def taken(self) -> int:
        """How many steps the weights have taken: in fp16 those are left out whose gradients overflow."""
        return optimizers.steps(self.optimizer, self.weights)

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def is_finite(self) -> bool:
        """Whether this process's share of the weights, and of their average, is made of finite numbers."""
        tensors: list[Any] = [*self.weights, *(self.ema_weights or ())]
        own: list[Any] = [tensor.to_local() if is_sharded(tensor) else tensor for tensor in tensors]
        return all(bool(tensor.isfinite().all()) for tensor in own)

    @torch.no_grad()
    def predicts(self, step: int) -> bool:
        """Whether the weights as they are now make finite numbers of this process's first samples of that step."""
        errors = self._step(self.get_batch(step, self.places[: self.micro])).errors
        return bool((errors.chosen.isfinite() & errors.rejected.isfinite()).all())

    def load_ema(self) -> None:
        """Replace the weights by their exponential moving average."""
        if self.ema_weights is not None:
            _copy(self.weights, self.ema_weights)

    def state(self) -> Iterator[tuple[str, dict[int, Tensor]]]:
        """The tensors that the next step depends on, by name and the number of the weight that they are of."""
        yield "weights", {i: weight.detach() for i, weight in enumerate(self.weights)}
        yield from optimizers.tensors(self.optimizer, self.weights).items()
        if self.ema_weights is not None:
            yield "average", dict(enumerate(self.ema_weights))

    def numbers(self) -> dict[str, Any]:
        """The numbers that it depends on, and the names of the optimizer's tensors."""
        return {
            "optimizer_step": self.taken,
            "optimizer_tensors": list(optimizers.tensors(self.optimizer, self.weights)),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, numbers: dict[str, Any], read: Callable[[str], dict[int, Tensor]]) -> None:
        """Take over what `state` and `numbers` gave."""
        for name, held in (("weights", self.weights), ("average", self.ema_weights)):
            if held is not None:
                found = read(name)
                _copy(held, [found[i] for i in range(len(held))])
        taken, names = numbers["optimizer_step"], numbers["optimizer_tensors"]
        optimizers.restore(self.optimizer, self.weights, taken, names, read)
        self.scaler.load_state_dict(numbers["scaler"])

    def _gradients(self, step: int) -> list[Scored]:
        """Gradients of this process's share; where memory does not suffice, in halves, down to one sample."""
        while True:
            try:
                return self._in_parts(step)
            except RuntimeError as error:
                if not is_memory_error(error) or self.team.fsdp_plugin is not None or self.micro == 1:
                    raise
            # Out of the handler: until then the error's frames hold on to the memory that is wanted back.
            self.micro = math.ceil(self.micro / 2)
            if self.team.device.type == "cuda":
                torch.cuda.empty_cache()
            print(f"not enough memory: going on with {self.micro} pairs at a time, the same batch", flush=True)

    def _in_parts(self, step: int) -> list[Scored]:
        parts = [self.places[start : start + self.micro] for start in range(0, len(self.places), self.micro)]
        self._clear(stay=len(parts) > 1)
        gain = self._gain(step, parts)
        scored = []
        for part in parts:
            batch = self.get_batch(step, part)
            result = self.objective(batch, self._step(batch), gain)
            self.scaler.scale(result.total.sum() / self.settings.optimizer.batch).backward()
            scored.append(result)
        return scored

    def _clear(self, *, stay: bool) -> None:
        """No gradients yet. They `stay` where they are if activations are to come between them and the optimizer."""
        self.optimizer.zero_grad(set_to_none=not stay)
        for weight in self.weights if stay else ():
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight, memory_format=torch.preserve_format)

    def _step(self, batch: TrainingBatch) -> Step:
        amp = AMP.get(self.precision)
        with torch.autocast(self.team.device.type, amp, enabled=amp is not None):
            return self.trainable.step(batch.pairs, reference=self.objective.loss.needs_reference)

    @torch.no_grad()
    def _gain(self, step: int, parts: list[range]) -> Tensor | None:
        """Mean gain over the whole batch, which takes a pass over all parts before the first gradient."""
        if not self.objective.needs_gain or (len(parts) == 1 and self.team.num_processes == 1):
            return None
        sums = []
        for part in parts:
            batch = self.get_batch(step, part)
            sums.append(torch.stack(gains(batch, self._step(batch))))
        total, count = self.team.sum(torch.stack(sums).sum(0)).unbind()
        return total / count.clamp(min=1)


@torch.no_grad()
def _copy(held: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
    for tensor, value in zip(held, tensors, strict=True):
        if tensor.shape != value.shape:  # which a copy might spread
            raise ValueError(f"a tensor of {list(value.shape)} in the place of one of {list(tensor.shape)}")
        tensor.copy_(value)


def learning_rate(optimizer: Optimizer, step: int) -> float:
    """The learning rate of a step: a linear warm-up, then held or down a cosine that ends at zero."""
    if step < optimizer.warmup:
        return optimizer.lr * (step + 1) / optimizer.warmup
    if optimizer.schedule == "constant":
        return optimizer.lr
    done = (step - optimizer.warmup) / max(1, optimizer.steps - optimizer.warmup)
    return optimizer.lr * 0.5 * (1.0 + math.cos(math.pi * done))


def is_memory_error(error: Exception) -> bool:
    """Whether the device, or the machine, had no memory left."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, torch.OutOfMemoryError) or bool(should_reduce_batch_size(error))


def pick_precision(name: str, device: torch.device) -> str:
    """`auto` is bf16 autocast where the processor has bf16 arithmetic, and fp32 elsewhere."""
    if name != "auto":
        return name
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bf16" if fast else "fp32"
