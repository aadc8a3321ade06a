"""The tables of `irt_simulation.py`, and the values they are to reproduce.

The reference values come from the same simulation, programmed before this package and apart from
it, with 20 seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from irt_simulation import PROBES, SIZES, Cells, gathered
from numpy.typing import NDArray
from scipy import stats

SPANS = {False: "in span", True: "off span"}

Reference = Mapping[str, tuple[Sequence[float | None], Sequence[float | None]]]
"""Values by arm: in span and off span, in the order of the columns."""

SPEARMAN: Reference = {
    "mean": ((0.680, 0.747, 0.868, 0.926), (0.740, 0.827, 0.922, 0.954)),
    "mean, fresh subsets": ((0.569, 0.715, 0.854, 0.898), (0.661, 0.781, 0.888, 0.940)),
    "p-IRT": ((0.547, 0.724, 0.862, 0.924), (0.638, 0.800, 0.926, 0.954)),
    "p-IRT, MAP": ((0.689, 0.760, 0.873, 0.926), (0.748, 0.834, 0.930, 0.955)),
    "mp-IRT": ((0.667, 0.783, 0.879, 0.943), (0.715, 0.826, 0.917, 0.951)),
    "mp-IRT, MAP": ((0.723, 0.785, 0.894, 0.945), (0.750, 0.831, 0.922, 0.952)),
    "gmp-IRT": ((0.696, 0.775, 0.881, 0.938), (0.751, 0.835, 0.924, 0.955)),
    "entropy: mean": ((0.727, 0.796, 0.882, 0.928), (0.778, 0.839, 0.938, 0.962)),
    "entropy: p-IRT, MAP": ((0.732, 0.796, 0.881, 0.932), (0.778, 0.841, 0.940, 0.965)),
    "entropy: mp-IRT": ((0.741, 0.810, 0.906, 0.950), (0.752, 0.827, 0.936, 0.960)),
    "entropy: mp-IRT, MAP": ((0.764, 0.827, 0.909, 0.951), (0.772, 0.839, 0.939, 0.959)),
    "entropy: gmp-IRT": ((0.746, 0.814, 0.896, 0.942), (0.774, 0.847, 0.941, 0.967)),
}
ERROR: Reference = {
    "mean": ((0.109, 0.082, 0.047, 0.034), (None, 0.078, None, 0.034)),
    "p-IRT": ((0.141, 0.077, 0.042, 0.030), (None, 0.073, None, 0.029)),
    "p-IRT, MAP": ((0.080, 0.061, 0.039, 0.029), (None, 0.059, None, 0.029)),
    "mp-IRT": ((0.096, 0.064, 0.039, 0.027), (None, 0.063, None, 0.029)),
    "mp-IRT, MAP": ((0.058, 0.051, 0.034, 0.025), (None, 0.057, None, 0.030)),
    "gmp-IRT": ((0.094, 0.068, 0.040, 0.029), (None, 0.064, None, 0.029)),
    "entropy: mean": ((0.135, 0.112, 0.101, 0.092), (None, 0.111, None, 0.091)),
    "entropy: mp-IRT, MAP": ((0.056, 0.048, 0.032, 0.023), (None, 0.056, None, 0.028)),
}
REGRET: Reference = {
    "mean": ((None, 0.048, 0.015, 0.006), (None, 0.039, 0.023, 0.014)),
    "entropy: mean": ((None, 0.039, 0.018, 0.021), (None, 0.030, 0.021, 0.013)),
}
FIT_SPEARMAN: Reference = {
    "mean": ((0.772, 0.745, 0.732), (0.837, 0.815, 0.840)),
    "self-fit, rank 1": ((0.769, 0.741, 0.735), (0.835, 0.810, 0.845)),
    "self-fit, rank 2": ((0.767, 0.745, 0.738), (0.835, 0.810, 0.843)),
    "rank 1, candidates' answers included": ((0.762, 0.749, 0.738), (0.825, 0.808, 0.845)),
    "entropy subset of the probes: mean": ((0.787, 0.794, 0.798), (0.861, 0.874, 0.870)),
}
FIT_ERROR: Reference = {
    "mean": ((0.081, 0.076, 0.079), (0.082, 0.076, 0.076)),
    "self-fit, rank 1": ((0.052, 0.054, 0.051), (0.058, 0.060, 0.054)),
    "self-fit, rank 2": ((0.054, 0.053, 0.051), (0.060, 0.060, 0.054)),
    "rank 1, candidates' answers included": ((0.060, 0.060, 0.054), (0.064, 0.066, 0.056)),
    "entropy subset of the probes: mean": ((0.135, 0.171, 0.194), (0.134, 0.168, 0.186)),
}

Worlds = Mapping[bool, Sequence[Cells]]
Figures = Mapping[bool, Mapping[tuple[str, int], NDArray[np.float64]]]


def report_lines(estimators: Worlds, fits: Worlds) -> Iterator[str]:
    """Yield every table.

    Args:
        estimators: cells of `estimator_cells`, in span and off span.
        fits: cells of `self_fit_cells`.
    """
    yield f"n = {len(estimators[False])} worlds of either kind."
    yield ""
    everything = (
        ("Spearman correlation with the true score", "spearman", estimators, SIZES, SPEARMAN),
        ("Mean absolute error of the score", "error", estimators, SIZES, ERROR),
        (
            "True score of the best candidate minus that of the pick",
            "regret",
            estimators,
            SIZES,
            REGRET,
        ),
        ("Share of 95 % intervals that hold the true score", "coverage", estimators, SIZES, {}),
        (
            "Self-fitted items, 20 answered: Spearman correlation",
            "spearman",
            fits,
            PROBES,
            FIT_SPEARMAN,
        ),
        ("Self-fitted items, 20 answered: mean absolute error", "error", fits, PROBES, FIT_ERROR),
        ("Self-fitted items, 20 answered: coverage", "coverage", fits, PROBES, {}),
    )
    told: list[float] = []
    for title, what, worlds, columns, reference in everything:
        figures = {off_span: gathered(cells, what) for off_span, cells in worlds.items()}
        yield from table_lines(title, figures, columns, reference)
        apart = distances(figures, columns, reference)
        told += apart.values()
        far = [f"{name} ({z:+.1f})" for name, z in apart.items() if abs(z) > 2.0]
        if apart:
            yield f"Further than 2 standard errors of the difference from the reference: {len(far)}"
            yield f"of {len(apart)} cells{': ' if far else ''}{'; '.join(far)}."
            yield ""
        if what == "spearman":
            yield from paired_lines(figures, columns)
    most = max(abs(z) for z in told)
    yield f"All tables: {sum(abs(z) > 2.0 for z in told)} of {len(told)} cells beyond 2 standard"
    yield f"errors, {sum(abs(z) > 3.0 for z in told)} beyond 3, the furthest {most:.1f}; were the"
    yield f"cells independent, {0.0455 * len(told):.0f} beyond 2 would be chance."


def table_lines(
    title: str, figures: Figures, columns: Sequence[int], reference: Reference
) -> Iterator[str]:
    """Yield a table: mean ± standard deviation over worlds, and the reference in brackets."""
    yield f"#### {title}"
    yield ""
    yield f"| | {' | '.join(f'{span}: {n}' for span in SPANS.values() for n in columns)} |"
    yield f"|---|{'---:|' * 2 * len(columns)}"
    for name in dict.fromkeys(name for name, _ in figures[False]):
        known = reference.get(name, ((None,) * len(columns),) * 2)
        cells = [
            shown(figures[off_span][name, n], expected)
            for off_span in SPANS
            for n, expected in zip(columns, known[off_span], strict=True)
        ]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def distances(figures: Figures, columns: Sequence[int], reference: Reference) -> dict[str, float]:
    """Return how far each cell is from the reference, in standard errors of the difference.

    The reference is taken to vary over its 20 worlds as much as these do over theirs.
    """
    return {
        f"{name}, {span}, {n}": float(
            (values.mean() - expected) / (values.std(ddof=1) * np.sqrt(1 / len(values) + 1 / 20))
        )
        for name, both in reference.items()
        for (off_span, span), row in zip(SPANS.items(), both, strict=True)
        for n, expected in zip(columns, row, strict=True)
        if expected is not None and len(values := figures[off_span][name, n]) > 1
    }


def paired_lines(figures: Figures, columns: Sequence[int]) -> Iterator[str]:
    """Yield the difference of every arm to the plain mean on the same worlds."""
    yield (
        "| minus mean, same worlds [95 % interval] | "
        + " | ".join(f"{span}: {n}" for span in SPANS.values() for n in columns)
        + " |"
    )
    yield f"|---|{'---:|' * 2 * len(columns)}"
    for name in dict.fromkeys(name for name, _ in figures[False]):
        if name == "mean":
            continue
        cells = []
        for off_span in SPANS:
            for n in columns:
                gaps = figures[off_span][name, n] - figures[off_span]["mean", n]
                half = stats.t.ppf(0.975, len(gaps) - 1) * stats.sem(gaps)
                cells.append(f"{gaps.mean():+.3f} ± {half:.3f}")
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def shown(values: NDArray[np.float64], expected: float | None) -> str:
    """Write a cell."""
    known = "" if expected is None else f" ({expected:.3f})"
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}{known}"
