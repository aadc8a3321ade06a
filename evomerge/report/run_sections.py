"""The sections of a run's page, in the order in which one asks."""

from __future__ import annotations

from collections.abc import Iterator

from evomerge.report import account
from evomerge.report.account import Listing
from evomerge.report.findings import Findings
from evomerge.report.gene_page import (
    MEANING,
    importance_drawings,
    missing_importance,
    parallel_genes,
)
from evomerge.report.html_page import Drawing, Section, table
from evomerge.report.interactive import front_section
from evomerge.report.merge_page import path_drawing, weights_drawing
from evomerge.report.populations.kin import Kin
from evomerge.report.populations.lineage_page import lineage_figure
from evomerge.report.populations.niche_page import niche_figure
from evomerge.report.run_history import RunHistory
from evomerge.report.run_page import coverage_figure, progress_drawings

_LONGEST_EXAMPLE = 300


def sections_of(found: Findings) -> Iterator[Section]:
    """Yield the sections of a run; what it has not is left out."""
    if found.analysis is not None:
        yield front_section(found.analysis, str(found.run))
    yield _progress(found)
    yield from _genes(found)
    yield from _makeup(found)
    for kin in found.kin:
        yield from _population(kin, found.history)
    if found.rungs:
        yield Section("Rungs", body=_table(account.rungs(found)))
    if found.causes:
        yield Section("Failures", body=_table(_cut(account.failures(found))))
    yield Section("Spend", body=_table(account.spend(found)))
    listings = [account.inputs(found), account.fingerprints(found), account.versions(found)]
    yield Section(
        "Provenance",
        "What it takes to do the same again: models and items by their content, recipes by their "
        "fingerprint, libraries by their version.",
        body="\n".join(_table(one) for one in listings if one.rows),
    )


def _progress(found: Findings) -> Section:
    history = found.history
    text = (
        "Every dot is a trial, the line is the best so far. The hypervolume is that of the front "
        f"of all trials so far, with each objective on a scale of {history.volume_scale}; failed "
        f"trials are counted by their cause. Scores are on {history.compared_on} items."
    )
    if history.stopped:
        text += (
            f" Hollow diamonds are the {len(history.stopped)} trials that stopped on a rung: "
            "estimates from a part of the items with their 95 % intervals, which count for neither "
            "the best nor the hypervolume."
        )
    return Section("Progress", text, progress_drawings(history, found.baseline_volume))


def _genes(found: Findings) -> Iterator[Section]:
    for one in found.genes:
        where = f"{one.label}: " if one.label else ""
        missing = missing_importance(one)
        drawings = importance_drawings(one, found.history.objectives)
        yield Section(f"{where}Importance of genes", missing or MEANING, drawings)
        text = (
            "Each line is a trial: its genes, the most telling first, and its scores. "
            "Click a line of the front for its recipe."
        )
        drawing = parallel_genes(one, found.history.objectives, found.on_front)
        yield Section(f"{where}Genes and scores", text, (drawing,))


def _makeup(found: Findings) -> Iterator[Section]:
    if found.weights:
        text = (
            "What each donor weighs in each layer, apart for attention, MLP and the rest; "
            "embeddings stand before the first layer, final norm and head after the last. Of "
            "recipes with a lineage it is the mean over the tensors, what mutations draw at random "
            "left out."
        )
        yield Section("Weights by layer", text, (weights_drawing(found.weights),))
    if found.paths:
        text = (
            "The way of tokens through the layers of the donors: a lane is a donor, a square a "
            "hop, the number its layer, and below the scale of the hop's input."
        )
        yield Section("Layer paths", text, (path_drawing(found.paths),))


def _population(one: Kin, history: RunHistory) -> Iterator[Section]:
    where = f"{one.label}: " if one.label else ""
    if one.population is not None and any(one.population.history):
        text = "How many of its places each archive had filled after each trial."
        if one.population.examples:
            text = (
                "How many of all examples some member of the archive held after each trial, and "
                "the mean score over all examples of the best individual so far, which need not "
                "be a member any more."
            )
        drawing = Drawing(coverage_figure(one.population), "archives over the trials", wide=True)
        yield Section(f"{where}Coverage", text, (drawing,))
        figure = niche_figure(
            one.population, history.objectives, one.names(history.stopped), history.metrics
        )
        if figure is not None:
            text = "Each niche holds the best individual of its kind; hover to see which."
            if one.population.examples:
                text = (
                    "An example is held by the member that scores highest on it; of equals by the "
                    "one of the highest shared fitness. A member that holds none still shares "
                    "what it solves."
                )
            drawing = Drawing(figure, "who holds which niche", wide=True)
            yield Section(f"{where}Niches", text, (drawing,))
    if one.tree is not None and one.roots:
        text = (
            "Who descends from whom: squares are founders, the star is the individual chosen, a "
            "strong rim marks members of the front. A colour is that of the founder of the largest "
            "share, paler where the mix is more even; a wide line is a parent of large weight. "
            "Below: how much of each founder is where in the model, mutations left out. "
            "'evomerge export FOLDER --trial N' writes any of them as a checkpoint."
        )
        figure = lineage_figure(one.tree, one.roots, one.front)
        drawing = Drawing(figure, "ancestors of the chosen individual", wide=True)
        yield Section(f"{where}Lineage", text, (drawing,))


def _table(one: Listing) -> str:
    return table(one.header, one.rows, one.caption, numbers=one.numbers)


def _cut(one: Listing) -> Listing:
    """Keep examples short enough for a table."""
    rows = tuple(
        (
            *row[:-1],
            row[-1] if len(row[-1]) <= _LONGEST_EXAMPLE else f"{row[-1][:_LONGEST_EXAMPLE]}…",
        )
        for row in one.rows
    )
    return Listing(one.caption, one.header, rows, one.numbers)
