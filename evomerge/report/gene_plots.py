"""Genes as pictures: what each tells of a score, and all of them side by side."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from evomerge.report.gene_page import MOST_GENES, gene_axes
from evomerge.report.genes import GeneTable
from evomerge.report.labels import literal
from evomerge.report.palette import GREY, SOFT, series
from evomerge.report.run_plots import figure_of, save, title
from evomerge.types import Objective


def draw_importance(table: GeneTable, objectives: tuple[Objective, ...], path: Path) -> bool:
    """Draw what each gene tells of each objective, a panel each; False without enough trials."""
    shown = [
        (objective, effects[:MOST_GENES])
        for objective, effects in zip(objectives, table.effects, strict=True)
        if effects
    ]
    if not shown:
        return False
    most = max(len(effects) for _, effects in shown)
    figure, panels = figure_of(len(shown), height=1.0 + 0.24 * most)
    for axes, (objective, effects) in zip(panels, shown, strict=True):
        heights = [-place for place in range(len(effects))]
        axes.errorbar(
            [one.share for one in effects],
            heights,
            xerr=[
                [one.share - one.low for one in effects],
                [one.high - one.share for one in effects],
            ],
            fmt="o",
            color=series(0),
            ms=5,
            lw=1.2,
        )
        axes.axvline(max(one.chance for one in effects), color=GREY, ls=":", lw=1.0)
        axes.set_yticks(heights, [literal(one.gene) for one in effects], fontsize=8)
        axes.set_ylim(-len(effects) + 0.5, 0.5)
        axes.set_xlabel(literal(f"importance for {objective.name}"))
    title(figure, "share of the variance of ranks that a gene alone explains (dotted: chance)")
    save(figure, path)
    return True


def draw_genes(
    table: GeneTable, objectives: tuple[Objective, ...], front: Collection[int], path: Path
) -> None:
    """Draw every scored trial as a line over genes and objectives, the front's on top."""
    titles, ticks, heights = gene_axes(table, objectives)
    figure, (axes,) = figure_of(1, height=4.2)
    places = list(range(len(titles)))
    for row, number in enumerate(table.trials):
        member = number in front
        axes.plot(
            places,
            heights[row],
            color=series(0) if member else SOFT,
            lw=1.6 if member else 0.6,
            alpha=0.9 if member else 0.35,
            zorder=3 if member else 2,
        )
    axes.axvline(len(titles) - len(objectives) - 0.5, color=GREY, ls=":", lw=1.0)
    labels = [f"{literal(name)}\n{literal(tick)}" for name, tick in zip(titles, ticks, strict=True)]
    axes.set_xticks(places, labels, fontsize=7)
    axes.set_yticks([])
    part = f"{table.label}: " if table.label else ""
    title(figure, f"{part}genes and scores of {len(table.trials)} trials; blue is the front")
    save(figure, path)
