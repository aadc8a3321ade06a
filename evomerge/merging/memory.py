"""Input tensors kept where the arithmetic runs.

Files are memory-mapped, so on a CPU there is nothing to keep. On an accelerator every merge would
copy the same donors over again; what fits stays there instead. Nothing else is worth keeping:
trimming by selection costs a sixth of a TIES merge, so kept magnitude orders, four bytes for each
element and donor, bought too little when measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from evomerge.merging.checkpoint import Checkpoint


class Memory:
    """Copies of file tensors on a device, kept while they fit.

    Merges walk through a model in the same order every time, so what came first is kept and
    nothing is thrown out: the least recently used tensor is always the one needed next.

    Args:
        device: where the arithmetic runs, if not said otherwise.
        limit_bytes: what the kept tensors may take on a device; 0 keeps nothing.
    """

    def __init__(self, device: torch.device, limit_bytes: int) -> None:
        self.device = device
        self._limit = limit_bytes
        self._used: Counter[torch.device] = Counter()
        self._lent = 0
        self._reclaim: Callable[[int], None] = lambda _: None
        self._kept: dict[tuple[Checkpoint, str, torch.device], Tensor] = {}

    @property
    def spare(self) -> int:
        """Bytes of the limit that nobody has taken, on the device where arithmetic runs."""
        return self._limit - self._used[self.device] - self._lent

    def lend(self, size: int) -> None:
        """Count bytes that somebody else keeps here, or gives back where negative."""
        self._lent += size

    def lend_to(self, reclaim: Callable[[int], None]) -> None:
        """Name who gives lent bytes back when inputs need them; told how many are missing."""
        self._reclaim = reclaim

    def load(
        self,
        checkpoint: Checkpoint,
        name: str,
        *,
        keep: bool = True,
        device: torch.device | None = None,
    ) -> Tensor:
        """Return a tensor of a checkpoint on the device, in its stored dtype; read-only.

        Args:
            checkpoint: where it is stored.
            name: of the tensor.
            keep: whether it will be asked for again.
            device: where it is wanted, if not where arithmetic runs.
        """
        device = device or self.device
        key = (checkpoint, name, device)
        if key in self._kept:
            return self._kept[key]
        source = checkpoint.tensor(name)
        tensor = source.to(device)
        size = tensor.numel() * tensor.element_size()
        # A tensor that was not copied is the file itself: keeping it would gain nothing.
        keep &= tensor is not source and checkpoint.constant
        if keep and device == self.device and size > self.spare:
            self._reclaim(size - self.spare)
        spare = self.spare if device == self.device else self._limit - self._used[device]
        if keep and size <= spare:
            self._kept[key] = tensor
            self._used[device] += size
        return tensor
