"""Where an experiment puts its tables: on the screen, and into the README beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evomerge.errors import UserError


def publish(script: str | Path, mark: str, lines: Iterable[str]) -> None:
    """Print lines, and replace by them what stands between two marks of a README.

    The marks are `<!-- MARK: begin -->` and `<!-- MARK: end -->`.

    Args:
        script: a file beside the README; `__file__` of who calls.
        mark: names the place.
        lines: of markdown.

    Raises:
        UserError: the README has no such marks; it is left as it is.
    """
    content = "\n".join(lines).strip("\n")
    print(content)
    readme = Path(script).resolve().with_name("README.md")
    begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->"
    text = readme.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UserError(f"{readme} has no '{begin.strip()}' and '{end}'; put them where it belongs")
    readme.write_text(f"{before}{begin}\n{content}\n\n{end}{after}", encoding="utf-8")
