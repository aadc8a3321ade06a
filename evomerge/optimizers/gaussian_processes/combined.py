"""What several objectives are combined into, as a function of their targets.

A model of each objective on its own scale knows more than one of their combination: each is a
simpler function of the genes, its bounds and the noise of its items are known, and what is combined
is computed and not learnt (composite functions: Astudillo and Frazier, 2019, arXiv 1906.01537).
"""

from __future__ import annotations

import torch
from torch import Tensor

from evomerge.optimizers.gaussian_processes.acquisition import Objective
from evomerge.optimizers.gaussian_processes.transforms import Targets
from evomerge.optimizers.links import IdentityLink, Link, LogitLink, LogLink
from evomerge.optimizers.scalarise import AUGMENTATION, Combination

_MOST = 60.0  # exponents beyond it are as good as infinite


def combined_objective(targets: Targets, combination: Combination) -> Objective:
    """Return minus the combined cost of targets, in units of its spread over them; differentiable.

    Args:
        targets: say how a target becomes a cost.
        combination: of the costs.
    """
    weights = torch.as_tensor(combination.weights, dtype=torch.double)
    ideals, spans = torch.as_tensor(combination.anchors, dtype=torch.double).unbind(dim=1)
    mean, scale = torch.as_tensor(targets.mean), torch.as_tensor(targets.scale)

    def combined(values: Tensor) -> Tensor:
        z = mean - values * scale
        costs = torch.stack(
            [_cost(link, z[..., k]) for k, link in enumerate(targets.links)], dim=-1
        )
        terms = weights * (costs - ideals) / spans
        total = terms.sum(dim=-1)
        if combination.method == "tchebycheff":
            return -(terms.amax(dim=-1) + AUGMENTATION * total)
        return -total

    # What makes an improvement smooth has the size of standardised targets.
    known = combined(torch.as_tensor(targets.values))
    spread = float(known.std(correction=0))
    unit = spread if spread > 0 else 1.0
    return lambda values: combined(values) / unit


def _cost(link: Link, z: Tensor) -> Tensor:
    """Return the cost of a link's z; a share is not rounded to the ends of its items' scale."""
    match link:
        case IdentityLink():
            return z
        case LogitLink():
            return link.low + (link.high - link.low) * torch.sigmoid(z)
        case LogLink():
            distance = torch.exp((-z if link.upper else z).clamp_max(_MOST))
            return link.bound - distance if link.upper else link.bound + distance
    raise TypeError(f"no cost of a {type(link).__name__}")
