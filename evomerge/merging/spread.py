"""A resident model that one device cannot hold: spread over several, the rest kept elsewhere.

accelerate decides where each block goes (`infer_auto_device_map`) and moves activations between
devices, and weights to where they are needed, while the model runs (`dispatch_model`). What is not
on an accelerator stays in main memory (offload 'cpu') or in files that are mapped into memory
(offload 'disk'); both are ordinary tensors here, so that a merge writes every weight in place,
wherever it is, and reads its inputs from the donors' files straight to that device.

Memory, in bytes of the merged model's weights W, over n devices: each holds about W / n, at most
`device_memory`, and beside it what a worker holds anyway: inputs of merges (the engine's cache, on
each device), one tensor's workspace, key/value caches of its layers, activations. Offloaded weights
take main memory or disk once, and on a device one block at a time.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from evomerge.errors import MissingExtra, UserError

Offload: TypeAlias = Literal["none", "cpu", "disk"]

FREE_SHARE = 0.8
"""What weights may take of a device's free memory, where the study does not say how much."""
_CPU, _DISK = "cpu", "disk"
_WEIGHTS: WeakKeyDictionary[nn.Module, dict[str, Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a resident model may be.

    Attributes:
        devices: that it runs on, the first takes its inputs.
        device_memory: bytes of weights that each of them may hold; most of what is free by default.
        offload: where weights that fit on none of them stay: in main memory, in files of the
            temporary directory, or nowhere.
    """

    devices: tuple[str, ...]
    device_memory: int | None = None
    offload: Offload = "none"

    @property
    def is_spread(self) -> bool:
        """Whether there is anything to decide."""
        return len(self.devices) > 1 or self.device_memory is not None or self.offload != "none"

    @property
    def main(self) -> torch.device:
        """The device that takes a model's inputs."""
        return torch.device(self.devices[0])


def require_placeable(placement: Placement) -> None:
    """Refuse a placement that cannot be, before a model is built.

    Raises:
        UserError: offloading to where the model is anyway.
        MissingExtra: accelerate is not installed.
    """
    if not placement.is_spread:
        return
    if placement.offload == "cpu" and placement.main.type == "cpu":
        raise UserError(
            "workers.offload: 'cpu' is where the model runs already; there is no GPU to spare. Say "
            "'disk', or remove it"
        )
    if find_spec("accelerate") is None:
        raise MissingExtra("a model spread over devices", "multi-gpu")


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return every weight of a module by name, where it really is; tied ones share storage."""
    if module in _WEIGHTS:
        return _WEIGHTS[module]
    return _state(module)


def is_spread(module: nn.Module) -> bool:
    """Say whether a module was spread by `spread`."""
    return module in _WEIGHTS


def spread(module: nn.Module, placement: Placement) -> nn.Module:
    """Give a module whose weights are on the meta device real ones, where there is room.

    Args:
        module: of transformers; its buffers are real.
        placement: where its weights may be.

    Raises:
        UserError: it does not fit, or there is no disk for what is offloaded.
    """
    from accelerate import dispatch_model  # noqa: PLC0415 -- an extra

    where = device_map(module, placement)
    with _Files(placement) as files:
        for name, weight in dict(module.named_parameters()).items():
            files.put(module, name, weight, _device_of(name, where))
    _weights_tied(module)
    weights = _state(module)
    with _quiet():
        dispatch_model(
            module,
            {name: _for_accelerate(device, placement) for name, device in where.items()},
            main_device=placement.main,
            state_dict={name: one for name, one in weights.items() if one.device.type == _CPU},
            skip_keys=getattr(module, "_skip_keys_device_placement", None),
            force_hooks=True,
        )
    there = {name: one for name, one in _state(module).items() if one.device.type != "meta"}
    _WEIGHTS[module] = weights | there
    return module


def device_map(module: nn.Module, placement: Placement) -> dict[str, int | str]:
    """Say where each part of a module goes, as accelerate names devices: a number, 'cpu', 'disk'.

    Raises:
        UserError: it does not fit, or what takes the inputs would be offloaded.
    """
    from accelerate import infer_auto_device_map  # noqa: PLC0415 -- an extra
    from accelerate.utils import get_balanced_memory  # noqa: PLC0415

    limits = _limits(placement)
    whole = list(getattr(module, "_no_split_modules", None) or ())
    with _quiet():
        budget = dict(limits)
        if len(placement.devices) > 1:
            budget = get_balanced_memory(module, budget, no_split_module_classes=whole)
        found = dict(infer_auto_device_map(module, budget, no_split_module_classes=whole))
        if len(placement.devices) > 1 and {_CPU, _DISK} & set(found.values()):
            # an even share may leave out what would fit
            found = dict(infer_auto_device_map(module, limits, no_split_module_classes=whole))
    nowhere = {"none": (_CPU, _DISK), "cpu": (_DISK,), "disk": ()}[placement.offload]
    lost = [name for name, one in found.items() if one in nowhere and not _runs_on(one, placement)]
    size = sum(one.numel() * one.element_size() for one in module.parameters())
    room = sum(limits[_key(device)] for device in placement.devices)
    if lost:
        raise UserError(
            f"workers: the model's weights take {size / 1e9:.3g} GB and {len(placement.devices)} "
            f"device{'s' * (len(placement.devices) > 1)} may hold {room / 1e9:.3g} GB of them; "
            f"raise {_cure(placement)}"
        )
    _keep_tied_together(module, found)
    first = next(iter(dict(module.named_parameters())))
    device = _device_of(first, found)
    if device in (_CPU, _DISK) and not _runs_on(device, placement):
        raise UserError(
            f"workers.device_memory: {room / 1e9:.3g} GB cannot hold even '{first}', which takes "
            "the inputs; raise it"
        )
    return found


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: one.detach() for name, one in module.state_dict(keep_vars=True).items()}


def _for_accelerate(device: int | str, placement: Placement) -> str | torch.device:
    """Name a device as accelerate takes it: 'cpu' in words is put away, a device is run on."""
    if isinstance(device, int):
        return torch.device("cuda", device)
    return torch.device(_CPU) if _runs_on(device, placement) else _CPU


def _cure(placement: Placement) -> str:
    if placement.main.type == _CPU:
        return "device_memory, or say offload: disk"
    more = {"none": "say offload: cpu", "cpu": "say offload: disk", "disk": "device_memory"}
    return f"gpus_per_worker or device_memory, or {more[placement.offload]}"


def _key(device: str) -> int | str:
    found = torch.device(device)
    return _CPU if found.type == _CPU else (found.index or 0)


def _limits(placement: Placement) -> dict[int | str, int]:
    """Return how many bytes of weights each device may hold; accelerate adds the disk itself."""
    limits: dict[int | str, int] = {}
    for device in placement.devices:
        limits[_key(device)] = placement.device_memory or int(FREE_SHARE * _free(device))
    if placement.main.type != _CPU:
        limits[_CPU] = int(FREE_SHARE * _free(_CPU)) if placement.offload == "cpu" else 0
    return limits


def _free(device: str) -> int:
    if torch.device(device).type == _CPU:
        from psutil import virtual_memory  # noqa: PLC0415 -- comes with accelerate

        return int(virtual_memory().available)
    return int(torch.cuda.mem_get_info(device)[0])


def _runs_on(device: int | str, placement: Placement) -> bool:
    """Say whether a model runs where accelerate puts a part of it."""
    return device == _CPU and placement.main.type == _CPU


def _device_of(name: str, where: Mapping[str, int | str]) -> int | str:
    """Return the device of a weight: that of the longest prefix of its name."""
    while name not in where and name:
        name = name.rpartition(".")[0]
    return where[name]


def _keep_tied_together(module: nn.Module, where: dict[str, int | str]) -> None:
    """Put whatever shares a weight on one device, the first one's."""
    from accelerate.utils import find_tied_parameters  # noqa: PLC0415 -- an extra

    for first, *others in find_tied_parameters(module):
        device = _device_of(first, where)
        for other in others:
            if _device_of(other, where) != device:
                where[other.rpartition(".")[0]] = device


def _weights_tied(module: Any) -> None:
    module.tie_weights()
    module.requires_grad_(False)


class _Files:
    """Makes the weights of a module, those for the disk in files that nobody else sees.

    A file is removed as soon as it is mapped: it goes with the process, however that ends.
    """

    def __init__(self, placement: Placement) -> None:
        self._main = placement.main
        self._folder = tempfile.TemporaryDirectory(prefix="evomerge-offload-")

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def put(self, module: nn.Module, name: str, weight: Tensor, device: int | str) -> None:
        """Replace a weight on the meta device by an empty one on a real device."""
        owner, _, own = name.rpartition(".")
        made = (
            self._mapped(weight)
            if device == _DISK
            else torch.empty(weight.shape, dtype=weight.dtype, device=device)
        )
        setattr(module.get_submodule(owner), own, nn.Parameter(made, requires_grad=False))

    def _mapped(self, weight: Tensor) -> Tensor:
        size = weight.numel() * weight.element_size()
        path = Path(self._folder.name, "weight")
        try:
            with path.open("wb") as file:
                if size:
                    os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise UserError(
                f"workers.offload: {self._folder.name}: {error.strerror}; weights that fit on no "
                "device stay there: free some disk space, or set TMPDIR to where there is some"
            ) from error
        flat = torch.from_file(str(path), shared=True, size=weight.numel(), dtype=weight.dtype)
        path.unlink()
        return flat.view(weight.shape)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep accelerate from telling that weights are where they were put."""
    import warnings  # noqa: PLC0415 -- used here alone

    logger = logging.getLogger("accelerate")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
