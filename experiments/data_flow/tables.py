"""Where the scripts put their tables: on the screen, and into the README between two marks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).resolve().with_name("README.md")


def publish(name: str, lines: Iterable[str]) -> None:
    """Replace what stands between the README's marks of that name, and print it."""
    content = "\n".join(lines).strip("\n")
    print(content)
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    text = README.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(
            f"{README} has no '{begin.strip()}' and '{end}'; put them where it belongs"
        )
    README.write_text(f"{before}{begin}\n{content}\n\n{end}{after}", encoding="utf-8")
