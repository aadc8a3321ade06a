"""Naming the device that merges and models run on."""

from __future__ import annotations

import torch

from evomerge.errors import UserError


def resolve_device(device: str) -> str:
    """Turn 'auto' into a device and refuse one that is not there.

    Raises:
        UserError: the device is unknown or missing.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device '{device}' cannot be used: {reason}") from error
    return device
