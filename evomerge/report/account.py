"""What a run did in words and tables: what was searched, how long, by what, for how much.

Each table is a title, a header and rows of plain text, so that a page and a Markdown file say the
same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from evomerge import __version__
from evomerge.merging.checkpoint import is_hub_id
from evomerge.report.analysis import has_mean
from evomerge.report.findings import Findings
from evomerge.report.shrinkage import shrinkage_line, shrinkages
from evomerge.report.spend import Spend


@dataclass(frozen=True, slots=True)
class Listing:
    """A table of texts.

    Attributes:
        caption: what it lists.
        header: titles of the columns.
        rows: each as long as the header.
        numbers: all columns but the first are numbers.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = True


def summary(found: Findings) -> Iterator[str]:
    """Yield a few paragraphs: what was searched, how long, what came out, what to beware of."""
    history, spend, study = found.history, found.spend, found.opening["study"]
    plan = study.get("stages") or [study]
    spaces = ", then ".join(
        f"{_space(part.get('space'))} by {part['search']['optimizer']}" for part in plan
    )
    donors = ", ".join(study["models"]["donors"])
    yield (
        f"Searched: {spaces}, over the donors {donors}, for "
        f"{', '.join(f'{one.name} ({one.goal})' for one in history.objectives)}."
        + (f" Seed {study['seed']}." if "seed" in study else "")
    )
    reason = f" ({found.stopped})" if found.stopped else ""
    unfinished = {
        "running": "The run is still running: this is how it stands, not a result.",
        "done": f"The search is over{reason}.",
        "killed": "The run was killed and is not over: this is how it stands.",
    }.get(found.state, f"The run is not over ({found.state}): this is how it stands.")
    stopped = len(history.stopped)
    yield (
        f"{history.n_finished} trials finished, {history.n_failed} of them failed"
        + (f", {stopped} stopped on a rung with an estimate" if stopped else "")
        + f", in {duration(spend.wall_s)} from {moment(spend.started_at)} to "
        f"{moment(spend.last_at)}. {unfinished}"
        + (f" Budget: {', '.join(found.budgets)}." if found.budgets else "")
    )
    yield from _result(found)
    yield from (f"Warning: {line}." for line in found.opening.get("warnings", ()))


def _result(found: Findings) -> Iterator[str]:
    analysis, history = found.analysis, found.history
    if analysis is None:
        yield f"The front and its recipes cannot be shown: {found.unread}."
        return
    front, volumes = analysis.front, analysis.volumes
    text = f"{len(front.members)} recipes are on the front"
    text += f", {front.held_words}" if front.held_words else ""
    confirmed = [row.confirmed for row in analysis.members if row.confirmed is not None]
    if confirmed:
        text += f"; {sum(confirmed)} of {len(confirmed)} are non-dominated on hold-out items"
    if volumes is not None and len(history.objectives) > 1:
        value, other = volumes.front_search, volumes.baselines_search
        items: str = front.picked_on
        if volumes.front_holdout is not None and volumes.baselines_holdout is not None:
            value, other = volumes.front_holdout, volumes.baselines_holdout
            items = "hold-out"
        interval = volumes.interval
        between = f" ({interval.low:.3f} to {interval.high:.3f})" if interval else ""
        text += (
            f". Hypervolume on {items} items, with 0 = base and 1 = best donor: front "
            f"{value:.3f}{between}, all baselines together {other:.3f}"
        )
    yield f"{text}."
    shrunk = shrinkages(front, with_mean=has_mean(front))
    if shrunk:
        yield f"Winner's curse, {shrinkage_line(front, shrunk)}."
    elif analysis.split != "holdout":
        yield (
            f"Scores are on {front.picked_on} items, which the front was picked by, so they are "
            "optimistic; nothing is scored on hold-out items yet."
        )


def failures(found: Findings) -> Listing:
    """List the causes of failure, each with an example."""
    rows = tuple(
        (one.kind, str(len(one.trials)), one.line, _trials(one.trials), one.example.strip())
        for one in found.causes
    )
    return Listing(
        "Messages that differ in nothing but numbers are one cause.",
        ("kind", "trials", "cause", "which", "example"),
        rows,
        numbers=False,
    )


def rungs(found: Findings) -> Listing:
    """List who was scored at which rung."""
    words = {"all": "all items", "proxy": "by the proxies"}
    rows = []
    brackets = any("begun" in one for one in found.rungs)
    for one in found.rungs:
        name = words.get(one["items"], f"{one['items']} items")
        share = one["climbed"] / one["scored"] if one["scored"] else 0.0
        last = one["items"] == "all"
        climbed = "" if last else f"{one['climbed']} ({share:.0%})"
        begun = (str(one.get("begun", 0)),) if brackets else ()
        rows.append((name, *begun, str(one["scored"]), climbed, f"{one['n_items']:,}"))
    total = sum(one["n_items"] for one in found.rungs)
    rows.append(("in all", *([""] if brackets else []), "", "", f"{total:,}"))
    return Listing(
        "Candidates at each rung; what stops below the last has estimates, not scores.",
        ("rung", *(["began here"] if brackets else []), "scored", "went on", "items scored"),
        tuple(rows),
    )


def spend(found: Findings) -> Listing:
    """List what the run took."""
    rows = [("budget used", words) for words in found.budgets]
    return Listing("What the run took.", ("", ""), (*rows, *_spend(found.spend)))


def _spend(one: Spend) -> Iterator[tuple[str, str]]:
    busy = one.n_workers * one.search_s
    yield "wall clock", f"{duration(one.wall_s)} in {_count(one.sessions, 'session')}"
    yield "search", f"{duration(one.search_s)} with {_count(one.n_workers, 'worker')}"
    for name, seconds in (
        ("merging", one.merge_s),
        ("scoring", one.score_s),
        ("loading, waiting, deciding", one.idle_s),
    ):
        share = f" ({seconds / busy:.0%} of the workers' time)" if busy else ""
        yield f"search: {name}", f"{duration(seconds)}{share}"
    yield "baselines and hold-out", f"{duration(one.after_s)} of merging and scoring"
    yield "items scored by the search", "unknown" if one.items is None else f"{one.items:,}"
    yield (
        "items scored for baselines and hold-out",
        "unknown" if one.items_after is None else f"{one.items_after:,}",
    )
    yield "trials with a recipe scored before", str(one.repeated)
    if one.worker_s:  # not noted by runs of before it was measured
        yield "worker-hours held", f"{one.worker_s / 3600:.2f}"
        yield "GPU-hours held", f"{one.gpu_s / 3600:.2f}"
    if one.cost is not None:
        yield "charged by fitnesses", f"{one.cost:.4g}"


def inputs(found: Findings, *, for_strangers: bool = False) -> Listing:
    """List models and data with their digests.

    Args:
        found: of the run.
        for_strangers: leave out folders of this machine.
    """
    opening = found.opening
    models = {"base": opening["models"]["base"], **opening["models"]["donors"]}
    rows = []
    for name, ref in models.items():
        where = ref.get("adapter") or ref.get("path", "")
        if for_strangers and not is_hub_id(where):
            where = "local adapter" if ref.get("adapter") else "local model"
        if ref.get("revision"):
            where += f" at {ref['revision']}"
        rows.append((name, where, ref.get("sha256", "not recorded")))
    objectives = opening["study"]["objectives"]
    for name, digest in opening.get("inputs", {}).items():
        kind, _, rest = name.partition(".")
        objective, _, split = rest.rpartition(".")
        source = objectives.get(objective, {}).get(split, "") if kind == "objectives" else ""
        if kind != "models":
            rows.append((name, str(source) if isinstance(source, str) else "", digest))
    return Listing(
        "SHA-256 of the weights and of the items, as the run read them.",
        ("input", "from", "sha256"),
        tuple(rows),
        numbers=False,
    )


def versions(found: Findings) -> Listing:
    """List the libraries the search ran with."""
    libraries = found.opening.get("versions", {})
    rows = [*libraries.items(), ("report written by", f"evomerge {__version__}")]
    rows.append(("Python of the report", sys.version.split()[0]))
    return Listing("Libraries of the search.", ("library", "version"), tuple(rows), numbers=False)


def fingerprints(found: Findings) -> Listing:
    """List what identifies each recipe."""
    rows = () if found.analysis is None else (*found.analysis.members, *found.analysis.baselines)
    return Listing(
        "Fingerprints of recipes; the same recipe has the same everywhere.",
        ("row", "fingerprint"),
        tuple((row.row.name, row.row.fingerprint) for row in rows),
        numbers=False,
    )


def duration(seconds: float) -> str:
    """Return a time in two units."""
    whole = round(seconds)
    if whole < 1:
        return f"{seconds:.2g} s"
    for size, unit, small, sub in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {sub}"
    return f"{whole} s"


def moment(at: float) -> str:
    """Return a point in time, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _space(space: object) -> str:
    """Name a space as the study does; one that is written inline by its method."""
    if isinstance(space, str):
        return space
    content = space if isinstance(space, dict) else {}
    for key in ("merge_method", "path", "population", "operators"):
        if key in content:
            return f"{content[key]}" if key == "merge_method" else f"{key} {content[key]}"
    return "a space of its own"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _trials(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown if len(numbers) <= 8 else f"{shown} and {len(numbers) - 8} more"
