"""torch as the losses use it, imported at its first use.

What the losses declare (names, options, bounds, defaults) is read for every --help and every mistyped flag, which
should not wait for torch. A loss in a file of your own may as well import torch as usual.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F

    __all__ = ["F", "torch"]
else:

    class _AtFirstUse:
        def __init__(self, module: str) -> None:
            self._module = module

        def __getattr__(self, name: str) -> object:
            return getattr(importlib.import_module(self._module), name)

    torch, F = _AtFirstUse("torch"), _AtFirstUse("torch.nn.functional")
