"""How many candidates were scored at each rung, read from a journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evomerge.journal import Event
from evomerge.study.rungs.ladder import PROXY

_NAMES = {"all": "all items", "proxy": "by the proxies"}


def rung_counts(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return for each rung, from the first: its items, who was scored there, who went on.

    Args:
        events: of a run; without rungs there is nothing to count.

    Returns:
        'items' of an objective ('all' at the last rung, 'proxy' before the first), 'scored' and
        'climbed' trials, 'n_items' that were scored there over all objectives; where there are
        brackets also the trials that were 'begun' there.
    """
    rungs = events[0].payload["study"].get("rungs") if events else None
    if rungs is None:
        return []
    scored = Counter(event.payload["rung"] for event in events if event.kind == "measured")
    at: dict[int, int] = {}
    climbed: Counter[int] = Counter()
    for event in events:
        if event.kind == "measured" and event.trial is not None:
            at[event.trial] = event.payload["rung"]
        elif event.kind == "decided":
            climbed.update(at[number] for number in event.payload["climb"])
    items = dict(enumerate([*rungs["items"], "all"] if scored else []))  # reached or not
    if scored[PROXY]:
        items = {PROXY: "proxy", **items}
    paid: Counter[int] = Counter()
    for event in events:
        if event.kind == "measured":
            paid[event.payload["rung"]] += event.payload["n_items"]
    counts = [
        {"items": size, "scored": scored[rung], "climbed": climbed[rung], "n_items": paid[rung]}
        for rung, size in items.items()
    ]
    begun = Counter(event.payload.get("bracket") for event in events if event.kind == "asked")
    if set(begun) - {None}:
        for rung, count in zip(items, counts, strict=True):
            count["begun"] = begun[rung]
    return counts


def rung_lines(counts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the counts as lines of text."""
    lines = []
    for rung in counts:
        what = _NAMES.get(rung["items"], f"{rung['items']} items")
        more = "" if rung["items"] == "all" else f", {rung['climbed']} of them went on"
        if rung.get("begun"):
            more += f"; {rung['begun']} began here"
        lines.append(f"{what}: {rung['scored']} candidates{more}")
    if counts:
        lines.append(f"{sum(rung['n_items'] for rung in counts)} items scored in all")
    return lines
