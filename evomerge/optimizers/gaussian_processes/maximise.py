"""Where an acquisition function is large: many points scored, the best of them climbed.

Continuous genes climb together by L-BFGS-B from several starts; discrete ones by single steps from
there. Starts are drawn with probabilities that grow with their worth, the best one always among
them (as BoTorch's `initialize_q_batch`), half of them anywhere and half near the front.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import qmc

from evomerge.optimizers.gaussian_processes.acquisition import Acquisition
from evomerge.optimizers.gaussian_processes.encoding import Encoding

Floats = NDArray[np.float64]

CHUNK = 16
"""Points scored at a time: more are slower, as their arrays leave the processor's cache."""

_STEPS = 8  # single steps of discrete genes in a climb, at most


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to look.

    Attributes:
        raw_samples: points scored to start from.
        restarts: of these, how many are climbed.
        iterations: of L-BFGS-B.
        chunk: points scored at a time.
    """

    raw_samples: int
    restarts: int
    iterations: int
    chunk: int


def score(acquisition: Acquisition, encoding: Encoding, points: Floats, chunk: int) -> Floats:
    """Return the worth of canonical points, `chunk` at a time, (n_points,)."""
    features = torch.as_tensor(encoding.features(points))
    with torch.no_grad():
        parts = [acquisition(part) for part in torch.split(features, chunk)]
    return np.concatenate([part.numpy() for part in parts]) if parts else np.zeros(0)


def starting_points(
    encoding: Encoding, count: int, near: Floats, random: np.random.Generator
) -> Floats:
    """Return canonical points, half of them anywhere and half near given ones, (count, n_genes).

    Anywhere means a scrambled Sobol sequence; for every other such point, where genes have weights,
    spreads or conditions, what these draw.

    Args:
        encoding: of the domain.
        count: how many.
        near: points worth looking around, maybe none.
        random: of everything drawn.
    """
    n_near = count // 2 if len(near) else 0
    n_anywhere = count - n_near
    if encoding.n_genes <= qmc.Sobol.MAXDIM:
        engine = qmc.Sobol(encoding.n_genes, scramble=True, seed=random)
        anywhere = engine.random_base2((n_anywhere - 1).bit_length())[:n_anywhere]
    else:
        anywhere = random.random((n_anywhere, encoding.n_genes))
    anywhere = encoding.canonical(anywhere)
    if encoding.shaped:
        anywhere[1::2] = encoding.draw(len(anywhere[1::2]), random)
    if not n_near:
        return anywhere
    return np.vstack([anywhere, encoding.around(near, n_near, random)])


def climbed(
    acquisition: Acquisition,
    encoding: Encoding,
    raw: Floats,
    worths: Floats,
    effort: Effort,
    random: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Return climbed points and their worth, the best first.

    Args:
        acquisition: to maximise.
        encoding: of the domain.
        raw: canonical points, (n_points, n_genes).
        worths: theirs, (n_points,).
        effort: how hard to look.
        random: of the choice of starts.
    """
    starts = raw[_chosen(worths, effort.restarts, random)]
    points = _by_gradient(acquisition, encoding, starts, effort)
    worths = score(acquisition, encoding, points, effort.chunk)
    best = int(np.argmax(worths))
    point, worth = _by_steps(acquisition, encoding, points[best], float(worths[best]), effort.chunk)
    if worth > worths[best]:
        points[best] = _by_gradient(acquisition, encoding, point[None], effort)[0]
        worths[best] = score(acquisition, encoding, points[best : best + 1], effort.chunk)[0]
    order = np.argsort(-worths, kind="stable")
    return points[order], worths[order]


def _chosen(worths: Floats, count: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Draw starts without replacement, exp(standardised worth) likely; the best is one of them."""
    finite = np.where(np.isfinite(worths), worths, -1e300)
    standard = (finite - finite.max()) / max(float(np.std(worths[np.isfinite(worths)])), 1e-12)
    keys = standard + random.gumbel(size=len(worths))  # the largest are such a draw
    keys[np.argmax(finite)] = np.inf
    return np.argsort(-keys, kind="stable")[:count]


def _by_gradient(
    acquisition: Acquisition, encoding: Encoding, starts: Floats, effort: Effort
) -> Floats:
    """Climb from all starts at once; what has no gradient stays where it is."""
    points = starts.copy()
    free = np.zeros(points.shape, dtype=bool)
    for row, point in zip(free, points, strict=True):
        row[encoding.smooth(point)] = True
    if not free.any():
        return points
    columns = np.searchsorted(encoding.owners, np.arange(encoding.n_genes))
    base = torch.as_tensor(encoding.features(points))
    rows, genes = np.nonzero(free)
    where = (torch.as_tensor(rows), torch.as_tensor(columns[genes]))

    def loss(vector: Floats) -> tuple[float, Floats]:
        features = base.index_put(where, torch.as_tensor(vector))
        total, gradient = 0.0, torch.zeros_like(features)
        for part in torch.split(torch.arange(len(features)), effort.chunk):
            leaf = features[part].detach().requires_grad_()
            value = -acquisition(leaf).sum()
            (gradient[part],) = torch.autograd.grad(value, leaf)
            total += float(value.detach())
        return total, gradient[where].numpy()

    found = minimize(
        loss,
        points[free],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * len(rows),
        options={"maxiter": effort.iterations},
    )
    points[free] = np.clip(found.x, 0.0, 1.0)
    return points


def _by_steps(
    acquisition: Acquisition, encoding: Encoding, point: Floats, worth: float, chunk: int
) -> tuple[Floats, float]:
    """Climb by the best single step of a discrete gene while there is one."""
    for _ in range(_STEPS):
        steps = encoding.neighbours(point)
        if not len(steps):
            break
        worths = score(acquisition, encoding, steps, chunk)
        best = int(np.argmax(worths))
        if not worths[best] > worth:
            break
        point, worth = steps[best], float(worths[best])
    return point, worth
