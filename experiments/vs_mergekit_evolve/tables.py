"""The tables of `compare.py report`."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from arm import ARMS, PARTS
from compare import SETTINGS, read, require_equal
from ours import BOOKKEEPING, FORWARD, GENERATION, HARNESS, LIKELIHOOD, MERGE

DISK, MEMORY = "disk-1", "memory-1"
"""What the claims are made against: either strategy at the batch size it really uses."""
ORDER = (
    MERGE,
    BOOKKEEPING,
    HARNESS,
    FORWARD.format(LIKELIHOOD),
    LIKELIHOOD,
    FORWARD.format(GENERATION),
    GENERATION,
)
TITLES: Mapping[str, str] = {
    LIKELIHOOD: f"{LIKELIHOOD}, the rest",
    GENERATION: f"{GENERATION}, the rest",
    BOOKKEEPING: "bookkeeping (optimizer, decoding, journal, everything between)",
}

Rows: TypeAlias = Sequence[Mapping[str, Any]]


def report_lines(out: Path) -> Iterator[str]:
    """Yield the tables of every setting that was measured."""
    parts: dict[str, Rows] = {}
    for name, setting in SETTINGS.items():
        rows = read(out / name / "results.jsonl")
        if not rows:
            continue
        require_equal(rows)
        by_arm: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in rows:
            by_arm[row["arm"]].append(row)
        parts[setting.title] = by_arm.pop(PARTS, [])
        yield from (f"### {setting.title}", "")
        yield f"n = {len(by_arm[DISK])}, {setting.candidates - 1} candidates each."
        yield ""
        yield from arm_lines(by_arm)
        yield from differing_lines(by_arm)
    yield from ("### Where the time goes", "")
    yield from part_lines({title: rows for title, rows in parts.items() if rows})


def arm_lines(by_arm: Mapping[str, Rows]) -> Iterator[str]:
    """Yield what each arm takes for a candidate."""
    yield (
        "| | rows of a batch | CPU seconds | (a) takes | (b) takes | candidates an hour |"
        " peak memory, MiB |"
    )
    yield "|---|---|---:|---:|---:|---:|---:|"
    cpu = {name: [row["cpu_s"] for row in rows] for name, rows in by_arm.items()}
    for name in [one for one in ARMS if one in by_arm]:
        rows = by_arm[name]
        ratios = [
            f"{statistics.median(cpu[other]) / statistics.median(cpu[name]):.1f} ×"
            for other in (DISK, MEMORY)
        ]
        yield (
            f"| {ARMS[name].title} | {ARMS[name].batch_size} | {spread(cpu[name], 3)} | "
            f"{' | '.join(ratios)} | {spread([3600 / row['wall_s'] for row in rows], 0)} | "
            f"{spread([row['peak_mib'] for row in rows], 0)} |"
        )
    yield ""


def differing_lines(by_arm: Mapping[str, Rows]) -> Iterator[str]:
    """Yield by how much scores that need not be equal differ."""
    exact = by_arm[DISK][0]["scores"]
    found = []
    for name in [one for one in ARMS if one in by_arm]:
        gaps = [
            abs(own[task] - other[task])
            for own, other in zip(by_arm[name][0]["scores"], exact, strict=True)
            for task in own
        ]
        if any(gaps):
            arm = ARMS[name]
            title = f"{arm.title} at {arm.batch_size.split(',')[0]}"
            found.append(f"{title} {sum(gap > 0 for gap in gaps)} (at most {max(gaps):.3f})")
    n_scores = sum(map(len, exact))
    yield (
        f"Of {n_scores} scores differ from those of (a) at batch size 1: "
        f"{'; '.join(found) or 'none of any arm'}."
    )
    yield ""


def part_lines(parts: Mapping[str, Rows]) -> Iterator[str]:
    """Yield the parts of a candidate through `fitness: lm_eval`, in CPU time."""
    yield f"| CPU ms of a candidate, and share | {' | '.join(parts)} |"
    yield f"|---|{'---:|' * len(parts)}"
    medians = {
        title: {part: statistics.median(row[part]["cpu_s"] for row in rows) for part in ORDER}
        for title, rows in parts.items()
    }
    for part in ORDER:
        cells = [share(of_one[part], of_one) for of_one in medians.values()]
        yield f"| {TITLES.get(part, part)} | {' | '.join(cells)} |"
    for title, chosen in (
        ("**merge and bookkeeping**", (MERGE, BOOKKEEPING)),
        ("**the harness's part with them**", (MERGE, BOOKKEEPING, HARNESS)),
    ):
        cells = [share(sum(one[part] for part in chosen), one) for one in medians.values()]
        yield f"| {title} | {' | '.join(cells)} |"
    for title, chosen in (
        ("wall ms of bookkeeping, with waiting for the disk", (BOOKKEEPING,)),
        ("wall ms of merge and bookkeeping", (MERGE, BOOKKEEPING)),
    ):
        walls = [
            {part: statistics.median(row[part]["wall_s"] for row in rows) for part in ORDER}
            for rows in parts.values()
        ]
        cells = [share(sum(one[part] for part in chosen), one) for one in walls]
        yield f"| {title} | {' | '.join(cells)} |"


def share(value: float, of_one: Mapping[str, float]) -> str:
    """Write milliseconds, and their share of a candidate."""
    return f"{1000 * value:.1f} ({value / sum(of_one.values()):.1%})"


def spread(values: Sequence[float], digits: int) -> str:
    """Write median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
