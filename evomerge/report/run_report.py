"""A folder that shows a run: one page, pictures of its parts, and the family tree as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evomerge.errors import RunDirectoryError, UserError
from evomerge.journal import Event, read_events, read_sessions
from evomerge.report.analysis import share_a_unit
from evomerge.report.collect import collect_front
from evomerge.report.html_page import Section, page_of
from evomerge.report.populations.lineage_page import lineage_figure
from evomerge.report.populations.lineage_plot import draw_lineage
from evomerge.report.populations.lineage_tree import FamilyTree, family_tree, lineage_document
from evomerge.report.populations.niche_page import niche_figure
from evomerge.report.populations.niche_plots import draw_niches
from evomerge.report.populations.population import Population, Stretch, populations, stretches
from evomerge.report.run_history import RunHistory, run_history
from evomerge.report.run_page import coverage_figure, progress_figure
from evomerge.report.run_plots import draw_coverage, draw_progress
from evomerge.report.shrinkage import shrinkage_line, shrinkages
from evomerge.report.whole_folder import require_free, whole_folder
from evomerge.study.budgets.meter import spent_in
from evomerge.study.picks import front_trials
from evomerge.study.seen import SeenRun
from evomerge.types import Completed, Trial

_PICTURES = 8  # of family trees; the page holds all of them


@dataclass(frozen=True)
class _Kin:
    """A population with its family tree and those whose ancestors are shown."""

    population: Population | None
    tree: FamilyTree | None
    roots: Mapping[int, str]
    front: tuple[int, ...]

    @property
    def label(self) -> str:
        one = self.population or self.tree
        return one.label if one else ""

    @property
    def suffix(self) -> str:
        """What tells the files of this part from those of others."""
        return f"-{self.label.replace(' ', '-').replace('/', '-of-')}" if self.label else ""


def write_report(run: Path, out: Path) -> tuple[str, ...]:
    """Write what a run did, finished or not; the folder appears complete or not at all.

        report.html      everything to hover over; needs no network
        progress.png     scores, hypervolume and failures over the trials
        coverage.png     of populations: how full the archives were over the trials
        niches.png       of populations: who lives where, or holds which examples
        lineage-000057.png  of populations: the ancestors of the champion of each archive and of
                         members of the front, founders aside; the first eight, the page has all
        lineage.json     of populations: every individual's parents, weights, shares and scores

    In a study of several stages the files of a population have its stage in their names.

    Args:
        run: the run directory; it is only read.
        out: must not exist; its parent is made where missing.

    Returns:
        The names of the files.

    Raises:
        RunDirectoryError: no trial is finished yet, the folder exists, or it cannot be written.
        PluginError: the optimizer of a population cannot be imported any more.
        JournalError: the journal or scores of examples are damaged.
    """
    require_free(out)
    events = read_events(run)
    if not any(event.kind == "finished" for event in events):
        raise RunDirectoryError(f"{run}: no trial is finished yet")
    with whole_folder(out) as folder:
        folder.mkdir()
        _write(run, events, folder)
    return tuple(sorted(path.name for path in out.iterdir()))


def _write(run: Path, events: Sequence[Event], folder: Path) -> None:
    history = run_history(events)
    kin = _kin(run, events, history)
    scores = {
        event.trial: event.payload["metrics"]
        for event in events
        if event.kind == "finished" and event.trial is not None and "metrics" in event.payload
    }
    draw_progress(history, folder / "progress.png")
    text = (
        "Every dot is a trial, the line is the best so far. The hypervolume is that of the front "
        f"of all trials so far, with each objective on a scale of {history.volume_scale}; failed "
        "trials are counted by their cause."
    )
    if history.stopped:
        text += (
            f" Hollow diamonds are the {len(history.stopped)} trials that stopped on a rung: "
            "estimates from a part of the items with their 95 % intervals, which count for neither "
            "the best nor the hypervolume."
        )
    sections = [Section("Progress", text, progress_figure(history))]
    for one in kin:
        sections += _population(one, history, scores, folder)
    trees = [(one.tree, one.population, one.front) for one in kin if one.tree is not None]
    if trees:
        document = lineage_document(history.study, trees)
        text = json.dumps(document, indent=1, allow_nan=False)
        (folder / "lineage.json").write_text(f"{text}\n", encoding="utf-8")
    summary = (
        f"{history.n_finished} trials finished, {history.n_failed} of them failed; scores are on "
        f"{history.picked_on} items, which the search picked by, so they are optimistic: "
        f"'evomerge front' has hold-out scores. {_shrinkage(run, events)}"
    )
    summary += _budget(run, events)
    summary += "".join(f" Warning: {line}." for line in events[0].payload.get("warnings", ()))
    (folder / "report.html").write_text(page_of(history.study, summary, sections), encoding="utf-8")


def _budget(run: Path, events: Sequence[Event]) -> str:
    """Say what the search may take and took, and why it ended if it did."""
    seen, sessions = SeenRun.of(events), read_sessions(run)
    gauges = seen.gauges(spent_in(sessions, events), events[-1].at)
    stopped = "" if seen.stop is None else f" The search is over: {seen.stop.reason}."
    return f" Budget: {', '.join(gauge.words for gauge in gauges)}.{stopped}"


def _shrinkage(run: Path, events: Sequence[Event]) -> str:
    """Say what the best trials lost on hold-out items; nothing before they were scored there."""
    if not any(one.kind == "scored" and one.payload["split"] == "holdout" for one in events):
        return ""
    try:
        front = collect_front(run)
    except UserError as error:  # what else the run holds is shown all the same
        return f"What the best trials score on hold-out items is unknown: {error}"
    found = shrinkages(front, with_mean=share_a_unit(front))
    return f"Winner's curse, {shrinkage_line(front, found)}." if found else ""


def _population(
    one: _Kin, history: RunHistory, scores: Mapping[int, Mapping[str, float]], folder: Path
) -> list[Section]:
    """Draw a population; returns its sections of the page."""
    sections: list[Section] = []
    where = f"{one.label}: " if one.label else ""
    names: dict[int, str] = {}
    if one.tree is not None:
        people = one.tree.individuals.values()
        names = {person.trial: person.founder for person in people if person.founder}
    names |= {stopped.trial: "estimated" for stopped in history.stopped}
    if one.population is not None and any(one.population.history):
        draw_coverage(one.population, folder / f"coverage{one.suffix}.png")
        text = "How many of its places each archive had filled after each trial."
        if one.population.examples:
            text = (
                "How many of all examples some member of the archive held after each trial, and "
                "the mean score over all examples of the best individual so far, which need not "
                "be a member any more."
            )
        sections.append(Section(f"{where}Coverage", text, coverage_figure(one.population)))
        path = folder / f"niches{one.suffix}.png"
        drawn = draw_niches(one.population, history.objectives, path, names, scores)
        figure = niche_figure(one.population, history.objectives, names, scores)
        if drawn and figure is not None:
            text = "Each niche holds the best individual of its kind; hover to see which."
            if one.population.examples:
                text = (
                    "An example is held by the member that scores highest on it; of equals by the "
                    "one of the highest shared fitness. A member that holds none still shares "
                    "what it solves."
                )
            sections.append(Section(f"{where}Niches", text, figure))
    if one.tree is not None and one.roots:
        for root, role in list(one.roots.items())[:_PICTURES]:
            path = folder / f"lineage-{root:06d}.png"
            draw_lineage(one.tree, root, path, role=role, front=one.front)
        text = (
            "Who descends from whom: squares are founders, the star is the individual chosen, a "
            "black rim marks members of the front. A colour is that of the founder of the largest "
            "share, paler where the mix is more even; a wide line is a parent of large weight. "
            "Below: how much of each founder is where in the model, mutations left out. "
            "'evomerge export FOLDER --trial N' writes any of them as a checkpoint."
        )
        figure = lineage_figure(one.tree, one.roots, one.front)
        sections.append(Section(f"{where}Lineage", text, figure))
    return sections


def _kin(run: Path, events: Sequence[Event], history: RunHistory) -> list[_Kin]:
    """Return the populations of a run, part by part."""
    found = {one.label: one for one in populations(run, events, history=True)}
    front = _front(events, history)
    kin = []
    for stretch in stretches(events):
        population = found.get(stretch.label)
        own = tuple(number for number in front if _belongs(number, stretch))
        roots = _roots(population, own)
        tree = family_tree(events, stretch, roots)
        if population is not None or tree is not None:
            shown = {} if tree is None else _shown(tree, roots)
            kin.append(_Kin(population, tree, shown, own))
    return kin


def _belongs(trial: int, stretch: Stretch) -> bool:
    return stretch.first <= trial < stretch.first + stretch.n_asked


def _roots(population: Population | None, front: Sequence[int]) -> dict[int, str]:
    """Return those whose ancestors are shown, and why: champions first, then the front."""
    roles: dict[int, list[str]] = {}
    for one in population.maps if population else ():
        if one.champion is not None:
            role = f"champion of {one.name}" if one.name else "champion"
            roles.setdefault(one.champion, []).append(role)
    for number in front:
        roles.setdefault(number, []).append("on the front")
    return {number: ", ".join(words) for number, words in roles.items()}


def _shown(tree: FamilyTree, roots: Mapping[int, str]) -> dict[int, str]:
    """Return those whose ancestors are shown: not founders, unless there is nobody else."""
    bred = {number: role for number, role in roots.items() if tree.individuals[number].parents}
    return bred or dict(roots)


def _front(events: Sequence[Event], history: RunHistory) -> list[int]:
    """Return the trials of the front, thinned as the study says."""
    trials = [
        Trial(number, (), Completed({}), tuple(costs))
        for number, costs in zip(
            history.scored,
            [
                [one.cost(value) for one, value in zip(history.objectives, row, strict=True)]
                for row in history.scores.tolist()
            ],
            strict=True,
        )
    ]
    size = events[0].payload["study"]["front"]["size"]
    return [trial.number for trial in front_trials(trials, size)]
