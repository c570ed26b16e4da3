"""A device beside the processor for machines without: computed here, but its tensors may not meet the processor's.

It goes by the name of torch's device ``meta``, the only one that tensors of one's own can be on in every build.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_iter, tree_map

from kd_lab import machine, models

DEVICE = torch.device("meta")
MEET = {"index", "index_put_", "_index_put_impl_", "copy_", "_to_copy"}
"""Operations whose tensors may be on several devices; what they give is where the first is, or is sent."""


class Elsewhere(Tensor):
    """A tensor on the device; what it holds is ``here``."""

    here: Tensor

    @staticmethod
    def __new__(cls: Any, here: Tensor) -> Any:
        options: Any = {"storage_offset": here.storage_offset(), "dtype": here.dtype, "device": DEVICE}
        made = Tensor._make_wrapper_subclass(cls, here.size(), here.stride(), **options)
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return carried_out(func, args, kwargs or {})


def carried_out(function: Any, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """``function`` of what the tensors hold, as tensors of the device they are on."""
    tensors = [one for one in tree_iter((arguments, options)) if isinstance(one, Tensor)]
    there = [one for one in tensors if isinstance(one, Elsewhere)]
    here = [one for one in tensors if not isinstance(one, Elsewhere) and one.dim()]
    name = function.overloadpacket.__name__
    # What has no dimension may be read from the processor, not written there.
    into = name.endswith("_") and not isinstance(tensors[0], Elsewhere)
    if there and (here or into) and name not in MEET:
        raise RuntimeError(f"{name}: {len(there)} of its {len(tensors)} tensors are on the device, not the others")
    sent = options.get("device")
    plain, named = tree_map(lambda one: one.here if isinstance(one, Elsewhere) else one, (arguments, options))
    found = function(*plain, **named | ({"device": torch.device("cpu")} if sent else {}))
    first = tensors[:1] if name in MEET else there
    if not (torch.device(sent) == DEVICE if sent else any(isinstance(one, Elsewhere) for one in first)):
        return found
    known = {id(one.here): one for one in there}
    return tree_map(lambda one: known.get(id(one), one) if id(one) in known else _brought(one), found)


def _brought(one: Any) -> Any:
    return Elsewhere(one) if isinstance(one, Tensor) else one


class Device(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within, what is sent to the device or made on it is there.

    Attributes:
        operations: how many there have been.
    """

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return carried_out(func, args, kwargs or {})


class _Accelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        """There is nothing to set up."""


def trainer(**options: Any) -> lightning.Trainer:
    """lightning.Trainer on the device; without inference mode, which tensors of one's own do not know."""
    strategy = SingleDeviceStrategy(DEVICE, accelerator=_Accelerator())
    kept = {name: one for name, one in options.items() if name not in {"accelerator", "devices"}}
    return lightning.Trainer(**kept | {"strategy": strategy, "inference_mode": False})


class _Random:
    get_rng_state, set_rng_state = staticmethod(torch.get_rng_state), staticmethod(torch.set_rng_state)


def _made_then_sent(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch makes tensors out of numbers where no mode sees it."""

    def call(*arguments: Any, device: Any = None, **options: Any) -> Tensor:
        made = make(*arguments, **options)
        return made if device is None else made.to(device)

    return call


@contextmanager
def device() -> Iterator[Device]:
    """Within, kd_lab trains on it: models are loaded on the processor as ever, checkpoints come back to it."""
    plain, load, save = {name: getattr(torch, name) for name in ("tensor", "as_tensor")}, models.load, torch.save

    def on_the_processor(*arguments: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as before, _disable_current_modes():
            for name, make in plain.items():
                before.setattr(torch, name, make)
            return load(*arguments, **options)

    def saved(content: Any, *arguments: Any) -> None:
        with _disable_current_modes():
            save(tree_map(lambda one: one.here if isinstance(one, Elsewhere) else one, content), *arguments)

    with pytest.MonkeyPatch.context() as patch:
        for name, make in plain.items():
            patch.setattr(torch, name, _made_then_sent(make))
        patch.setattr(torch, "get_device_module", lambda device: _Random)
        patch.setattr(import_module("torch.optim.adam"), "_device_dtype_check_for_fused", lambda parameter: None)
        patch.setattr(machine, "Trainer", trainer)
        patch.setattr(models, "load", on_the_processor)
        patch.setattr(torch, "save", saved)
        with Device() as running:  # type: ignore[no-untyped-call]
            yield running
