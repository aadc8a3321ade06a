"""A run as Markdown: a section for a model card or a note, without pictures.

It may be read by strangers: local folders are called by the names the study gives them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import chain

from evomerge.report import account
from evomerge.report.account import Listing
from evomerge.report.findings import Findings
from evomerge.report.markdown import cell, gains_list, legend, scores_table


def markdown_of(found: Findings) -> str:
    """Return a run as Markdown; it begins with a heading of the second level."""
    lines = [f"## {cell(found.history.study)}", ""]
    lines += chain.from_iterable((cell(line), "") for line in account.summary(found))
    for title, part in (
        ("Scores", _scores(found)),
        ("Rebuild", _rebuild(found)),
        ("Importance of genes", _importance(found)),
        ("Rungs", _listed(account.rungs(found)) if found.rungs else ()),
        ("Failures", _listed(account.failures(found)) if found.causes else ()),
        ("Spend", _listed(account.spend(found))),
        ("Inputs", _listed(account.inputs(found, for_strangers=True))),
        ("Versions", _listed(account.versions(found))),
    ):
        content = list(part)
        if content:
            lines += [f"### {title}", "", *content[content[0] == "" :], ""]
    return "\n".join(lines).rstrip() + "\n"


def _scores(found: Findings) -> Iterator[str]:
    analysis = found.analysis
    if analysis is None or analysis.split != "holdout":
        return  # scores that the search picked by are not for a card
    rows = (*analysis.members, *analysis.baselines)
    yield from scores_table(analysis, rows, bold=analysis.knee)
    yield from ("", legend(analysis, rows))
    chosen = next((row for row in analysis.members if row.row.name == analysis.knee), None)
    gains = gains_list(analysis, chosen) if chosen else []
    if chosen and gains:
        yield from ("", f"{chosen.row.name.capitalize()} is the knee; over the best baselines:", "")
        yield from gains
    yield from ("", *(f"- {cell(note)}" for note in analysis.notes))


def _rebuild(found: Findings) -> Iterator[str]:
    if found.analysis is None:
        return
    run = shlex.quote(found.run.name if found.run.is_absolute() else str(found.run))
    yield "```sh"
    for row in found.analysis.members:
        yield f"evomerge export merged-{row.row.trial}/ --trial {row.row.trial} --run {run}"
    yield "```"


def _importance(found: Findings) -> Iterator[str]:
    for one in found.genes:
        for effects, objective in zip(one.effects, found.history.objectives, strict=True):
            if effects:
                rows = tuple(
                    (
                        effect.gene,
                        f"{effect.share:.2f} [{effect.low:.2f}, {effect.high:.2f}]",
                        f"{effect.chance:.2f}",
                        "" if effect.direction is None else f"{effect.direction:+.2f}",
                    )
                    for effect in effects[:10]
                )
                part = f"{one.label}: " if one.label else ""
                header = ("gene", "share of rank variance", "by chance", "rank correlation")
                yield from ("", *_listed(Listing(f"{part}{objective.name}", header, rows)))


def _listed(one: Listing) -> Iterator[str]:
    yield from (cell(one.caption), "")
    yield f"| {' | '.join(map(_inline, one.header))} |"
    align = "---:" if one.numbers else "---"
    yield f"|---|{'|'.join([align] * (len(one.header) - 1))}|"
    for row in one.rows:
        yield f"| {' | '.join(map(_inline, row))} |"


def _inline(text: str) -> str:
    return cell(" ".join(text.split()))
