"""A page that needs no network: sections of text, tables and figures of plotly, light and dark.

The library is in the page once. A figure is kept as JSON beside its place and drawn by the page's
own script, which exchanges the colours of `evomerge.report.palette` where the reader prefers dark,
and prints in light. Whatever has a `data-pick` shows the article of that name when it is clicked,
and so does a point of a figure whose customdata is [hover text, name].
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from evomerge.report.palette import GREY, INK, ON_DARK, PALE, PAPER

_COLUMNS = 2

# plotly.js holds addresses it could fetch maps and fonts from; the page forbids it to.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{summary}
{contents}
</header>
<main>
{body}
</main>
{scripts}
</body>
</html>
"""

_AXIS = {
    "gridcolor": PALE,
    "linecolor": PALE,
    "zerolinecolor": PALE,
    "automargin": True,
    "title": {"standoff": 8},
}
LOOK = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "family": "system-ui, sans-serif", "size": 13},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hoverlabel": {
            "align": "left",
            "bgcolor": PAPER,
            "bordercolor": GREY,
            "font": {"color": INK},
        },
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "margin": {"l": 55, "r": 20, "t": 50, "b": 50},
        "updatemenudefaults": {"bgcolor": PAPER, "bordercolor": GREY, "font": {"color": INK}},
        "uirevision": "kept",
        "dragmode": "zoom",
    }
)
"""How every figure of a page looks."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure on a page.

    Attributes:
        figure: of plotly.
        says: what it shows, in a sentence, for those who do not see it.
        wide: it takes a row of its own, and is scrolled sideways on a phone.
    """

    figure: Any
    says: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page.

    Attributes:
        heading: its title.
        text: what is to be seen, one paragraph.
        drawings: its figures, beside one another where there is room.
        body: what follows below, as HTML.
    """

    heading: str
    text: str = ""
    drawings: Sequence[Drawing] = ()
    body: str = ""


def page_of(title: str, summary: Sequence[str], sections: Sequence[Section]) -> str:
    """Return a page; titles, headings and texts are escaped, bodies are not.

    Args:
        title: of the page.
        summary: paragraphs below it.
        sections: in order; those of a long page are listed at its beginning.
    """
    links = "".join(
        f'<a href="#{_anchor(one.heading)}">{escape(one.heading)}</a>' for one in sections
    )
    parts, number = [], 0
    for one in sections:
        drawn = []
        for drawing in one.drawings:
            drawn.append(_drawn(drawing, f"figure-{number}"))
            number += 1
        parts.append(
            f'<section id="{_anchor(one.heading)}">\n<h2>{escape(one.heading)}</h2>\n'
            + (f"<p>{escape(one.text)}</p>\n" if one.text else "")
            + (f'<div class="drawings">\n{"".join(drawn)}</div>\n' if drawn else "")
            + f"{one.body}\n</section>"
        )
    swaps = json.dumps(dict(ON_DARK)).replace("<", "\\u003c")
    scripts = [_text("page.js").replace("/* ON_DARK */ {}", swaps)]
    if number:
        scripts.insert(0, get_plotlyjs())
    return _PAGE.format(
        policy=_POLICY,
        title=escape(title),
        style=_text("page.css"),
        summary="\n".join(f"<p>{escape(line)}</p>" for line in summary),
        contents=f'<nav aria-label="Sections">{links}</nav>' if len(sections) > 2 else "",
        body="\n".join(parts),
        scripts="\n".join(f"<script>{one}</script>" for one in scripts),
    )


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, *, numbers: bool = True
) -> str:
    """Return an HTML table; texts are escaped but for cells that `markup` made.

    Args:
        header: of the columns.
        rows: the first cell of each is its name.
        caption: what it lists.
        numbers: cells but the first are set flush right.
    """
    titles = "".join(f'<th scope="col">{_cell(one)}</th>' for one in header)
    body = "\n".join(
        "<tr>"
        + f'<th scope="row">{_cell(row[0])}</th>'
        + "".join(f"<td>{_cell(one)}</td>" for one in row[1:])
        + "</tr>"
        for row in rows
    )
    kind = ' class="numbers"' if numbers else ""
    return (
        f'<div class="scroll"><table{kind}><caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


class Markup(str):
    """HTML that stands in a table as it is."""

    __slots__ = ()


def panels(
    n_panels: int, height: int, titles: Sequence[str] | None = None, spacing: float = 0.09
) -> Any:
    """Return an empty figure, two panels a row, each of a height in pixels."""
    rows = -(-n_panels // _COLUMNS)
    figure = make_subplots(
        rows=rows,
        cols=min(_COLUMNS, n_panels),
        subplot_titles=titles,
        horizontal_spacing=spacing,
        vertical_spacing=0.22 / rows,
    )
    figure.update_annotations(font_size=13)
    figure.update_layout(template=LOOK, height=60 + height * rows, showlegend=False)
    return figure


def canvas(height: int, **layout: Any) -> Any:
    """Return an empty figure of a height in pixels."""
    return go.Figure(layout={"template": LOOK, "height": height, **layout})


def place_of(index: int) -> dict[str, int]:
    """Return row and column of a panel."""
    return {"row": index // _COLUMNS + 1, "col": index % _COLUMNS + 1}


def _drawn(drawing: Drawing, name: str) -> str:
    content = drawing.figure.to_json().replace("<", "\\u003c").replace(">", "\\u003e")
    wide = " wide" if drawing.wide else ""
    height = drawing.figure.layout.height or 400
    return (
        f'<figure class="drawing{wide}"><div class="scroll"><div class="plot" id="{name}" '
        f'role="img" aria-label="{escape(drawing.says)}" style="height:{height}px"></div></div>'
        f'<script type="application/json" data-of="{name}">{content}</script></figure>\n'
    )


def _cell(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _text(name: str) -> str:
    return resources.files("evomerge.report").joinpath(name).read_text(encoding="utf-8")
