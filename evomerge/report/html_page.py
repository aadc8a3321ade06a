"""A page that needs no network: figures of plotly with the library in the page itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.io
from plotly.subplots import make_subplots

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
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1280px; margin: 1.5rem auto; }}
body {{ padding: 0 1rem; color: #222; }}
h2 {{ margin: 2.2rem 0 0.2rem; font-size: 1.25rem; }}
p {{ max-width: 60rem; }}
li {{ color: #444; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
{body}
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page.

    Attributes:
        heading: its title.
        text: what the figure shows, one paragraph.
        figure: of plotly.
    """

    heading: str
    text: str
    figure: Any


def page_of(title: str, summary: str, sections: Sequence[Section]) -> str:
    """Return a page; texts are escaped, plotly's library is in it once."""
    parts = []
    for number, section in enumerate(sections):
        drawn = drawn_in(section.figure, f"figure-{number}", with_library=number == 0)
        heading = f"<h2>{escape(section.heading)}</h2>"
        parts.append(f"{heading}\n<p>{escape(section.text)}</p>\n{drawn}")
    return page(title, summary, "\n".join(parts))


def page(title: str, summary: str, body: str) -> str:
    """Return a page around a body of HTML; title and summary are escaped."""
    return _PAGE.format(policy=_POLICY, title=escape(title), summary=escape(summary), body=body)


def drawn_in(figure: Any, div_id: str, *, with_library: bool = True) -> str:
    """Return a figure as HTML; the first of a page brings plotly's library."""
    html: str = plotly.io.to_html(
        figure,
        full_html=False,
        include_plotlyjs=with_library,
        include_mathjax=False,
        div_id=div_id,
        config={"displaylogo": False, "responsive": True},
    )
    return html


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
    figure.update_layout(
        template="plotly_white",
        height=60 + height * rows,
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        showlegend=False,
        hoverlabel={"align": "left", "bgcolor": "white"},
    )
    return figure


def place_of(index: int) -> dict[str, int]:
    """Return row and column of a panel."""
    return {"row": index // _COLUMNS + 1, "col": index % _COLUMNS + 1}
