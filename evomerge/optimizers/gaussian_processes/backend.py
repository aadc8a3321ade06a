"""BoTorch is loaded when an optimizer that needs it is built, and asked for by name if missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from evomerge.errors import MissingExtra

if TYPE_CHECKING:
    from evomerge.optimizers.gaussian_processes.encoding import Encoding
    from evomerge.optimizers.gaussian_processes.proposer import Proposer
    from evomerge.optimizers.gaussian_processes.settings import Settings


def proposer_of(
    encoding: Encoding, seed: int, settings: Settings, *, published: bool = False
) -> Proposer:
    """Return a `Proposer`, see there.

    Raises:
        MissingExtra: BoTorch is not installed.
    """
    if any(find_spec(package) is None for package in ("torch", "gpytorch", "botorch")):
        raise MissingExtra("MM-MO and MOBO", "botorch")
    # BoTorch takes seconds to load.
    from evomerge.optimizers.gaussian_processes.proposer import Proposer  # noqa: PLC0415

    return Proposer(encoding, seed, settings, published=published)
