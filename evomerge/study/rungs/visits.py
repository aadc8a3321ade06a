"""What rungs ask of a candidate on average: which share of candidates is scored on which items."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from evomerge.study.rungs.brackets import Brackets
from evomerge.study.rungs.config import RungsConfig
from evomerge.study.rungs.proxies import EVERY


@dataclass(frozen=True, slots=True)
class Visit:
    """A rung that candidates are scored at.

    Attributes:
        share: of all candidates that are, known points left out.
        items: objective name to how many items are new to a candidate there.
        proxy: they are answered by the objectives' proxies.
    """

    share: float
    items: Mapping[str, int]
    proxy: bool = False


def visits(
    rungs: RungsConfig | None, counts: Mapping[str, int], foretold: Collection[str] = ()
) -> tuple[Visit, ...]:
    """Return where candidates are expected to be scored, from the lowest rung up.

    As many go on from rung to rung as `promote` and `keep` say, all of them where only `race` stops
    anybody. No item is scored twice.

    Args:
        rungs: of the study; None scores everybody on everything.
        counts: objective name to the number of its search items; at least one.
        foretold: objectives with a proxy.
    """
    if rungs is None:
        return (Visit(1.0, dict(counts)),)
    sizes = [size for size in rungs.items if size < max(counts.values())]
    by_rung = [{name: min(size, count) for name, count in counts.items()} for size in sizes]
    by_rung.append(dict(counts))
    share = 1.0 if rungs.promote is None else rungs.promote
    totals = [sum(one.values()) for one in by_rung]
    brackets = Brackets(totals, share, min(rungs.n_brackets, len(totals)))
    found = []
    for first, own in enumerate(brackets.shares):
        let_through = own
        if first == 0 and foretold and sizes:
            asked = {name: by_rung[0][name] for name in foretold if name in counts}
            found.append(Visit(own, asked, proxy=True))
            let_through *= rungs.keep + (1 - rungs.keep) / EVERY
        found.append(Visit(let_through, by_rung[first]))
        for rung in range(first + 1, len(totals)):
            new = {name: by_rung[rung][name] - by_rung[rung - 1][name] for name in counts}
            found.append(Visit(let_through * share ** (rung - first), new))
    return tuple(found)
