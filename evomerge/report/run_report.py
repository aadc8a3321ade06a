"""A folder that shows a run: one page, a text, pictures of its parts, the family tree as data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from evomerge.errors import UserError, nearest
from evomerge.report import account
from evomerge.report.findings import Findings, findings_of
from evomerge.report.gene_plots import draw_genes, draw_importance
from evomerge.report.html_page import page_of
from evomerge.report.merge_plots import draw_path, draw_weights
from evomerge.report.plots import draw_png
from evomerge.report.populations.kin import Kin
from evomerge.report.populations.lineage_plot import draw_lineage
from evomerge.report.populations.lineage_tree import lineage_document
from evomerge.report.populations.niche_plots import draw_niches
from evomerge.report.run_markdown import markdown_of
from evomerge.report.run_plots import draw_coverage, draw_progress
from evomerge.report.run_sections import sections_of
from evomerge.report.whole_folder import require_free, whole_folder

Format: TypeAlias = Literal["html", "md", "png", "svg"]
FORMATS: tuple[str, ...] = get_args(Format)
DEFAULT_FORMATS: tuple[Format, ...] = ("html", "png")

_PICTURES = 8  # of single members of a front or population; the page holds all of them


def write_report(
    run: Path, out: Path, formats: Sequence[Format] = DEFAULT_FORMATS
) -> tuple[str, ...]:
    """Write what a run did, finished or not; the folder appears complete or not at all.

        report.html      'html': everything to hover over and click at; needs no network
        report.md        'md': a section for a model card, without pictures
        front.png        'png' or 'svg', as all pictures: the front against the baselines
        progress.png     scores, hypervolume and failures over the trials
        importance.png   what single genes tell of the scores
        genes.png        genes and scores of all trials, side by side
        weights-000057.png  weights by layer of members of the front; the first eight, as below
        path-000057.png  of data flow: layer paths of members of the front
        coverage.png     of populations: how full the archives were over the trials
        niches.png       of populations: who lives where, or holds which examples
        lineage-000057.png  of populations: the ancestors of the champion of each archive and of
                         members of the front, founders aside; the first eight, the page has all
        lineage.json     of populations, always: parents, weights, shares and scores of everybody

    In a study of several stages files of a part have its stage in their names. What a run does not
    have is left out.

    Args:
        run: the run directory; it is only read.
        out: must not exist; its parent is made where missing.
        formats: what to write.

    Returns:
        The names of the files.

    Raises:
        RunDirectoryError: no trial is finished yet, the folder exists, or it cannot be written.
        PluginError: the optimizer of a population cannot be imported any more.
        JournalError: the journal or scores of examples are damaged.
    """
    require_free(out)
    found = findings_of(run)
    with whole_folder(out) as folder:
        folder.mkdir()
        if "html" in formats:
            page = page_of(
                found.history.study, list(account.summary(found)), list(sections_of(found))
            )
            (folder / "report.html").write_text(page, encoding="utf-8")
        if "md" in formats:
            (folder / "report.md").write_text(markdown_of(found), encoding="utf-8")
        for suffix in ("png", "svg"):
            if suffix in formats:
                _pictures(found, folder, suffix)
        _lineage(found, folder)
    return tuple(sorted(path.name for path in out.iterdir()))


def formats_from(text: str) -> tuple[Format, ...]:
    """Read a list of formats, separated by commas.

    Raises:
        UserError: one of them is none.
    """
    found: list[Format] = []
    for name in dict.fromkeys(part.strip() for part in text.split(",")):
        if name not in FORMATS:
            raise UserError(f"--format {text}: '{name}' is no format; {nearest(name, FORMATS)}")
        found.append(name)  # type: ignore[arg-type]
    return tuple(found)


def _pictures(found: Findings, folder: Path, suffix: str) -> None:
    """Draw what the page draws, without what only a pointer can show."""
    history, front = found.history, found.on_front
    if found.analysis is not None:
        draw_png(found.analysis, folder / f"front.{suffix}")
    draw_progress(history, folder / f"progress.{suffix}", found.baseline_volume)
    for table in found.genes:
        part = f"-{_file(table.label)}" if table.label else ""
        draw_importance(table, history.objectives, folder / f"importance{part}.{suffix}")
        draw_genes(table, history.objectives, front, folder / f"genes{part}.{suffix}")
    for name, weights in list(found.weights.items())[:_PICTURES]:
        draw_weights(name, weights, folder / f"weights-{_number(name)}.{suffix}")
    for name, (way, models) in list(found.paths.items())[:_PICTURES]:
        draw_path(name, way, models, folder / f"path-{_number(name)}.{suffix}")
    for kin in found.kin:
        _population(found, kin, folder, suffix)


def _population(found: Findings, kin: Kin, folder: Path, suffix: str) -> None:
    if kin.population is not None and any(kin.population.history):
        draw_coverage(kin.population, folder / f"coverage{kin.suffix}.{suffix}")
        path = folder / f"niches{kin.suffix}.{suffix}"
        draw_niches(
            kin.population,
            found.history.objectives,
            path,
            kin.names(found.history.stopped),
            found.history.metrics,
        )
    if kin.tree is not None:
        for root, role in list(kin.roots.items())[:_PICTURES]:
            path = folder / f"lineage-{root:06d}.{suffix}"
            draw_lineage(kin.tree, root, path, role=role, front=kin.front)


def _lineage(found: Findings, folder: Path) -> None:
    trees = [(one.tree, one.population, one.front) for one in found.kin if one.tree is not None]
    if trees:
        document = lineage_document(found.history.study, trees)
        text = json.dumps(document, indent=1, allow_nan=False)
        (folder / "lineage.json").write_text(f"{text}\n", encoding="utf-8")


def _file(label: str) -> str:
    return label.replace(" ", "-").replace("/", "-of-")


def _number(name: str) -> str:
    """Return a trial's number as it stands in names of files."""
    return f"{int(name.removeprefix('trial ')):06d}"
