"""Every page links to what is there."""

import pydoc
import re
from urllib.parse import unquote, urlsplit

import pytest

from .pages import FOLDERS, PAGES, ROOT, anchors, links, named


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_lead_somewhere(page):
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert target.exists(), f"{link}: there is no such file"
        assert target.is_relative_to(ROOT), link
        if parts.fragment:
            assert parts.fragment in anchors(target), f"{link}: there is no such heading"


def test_every_guide_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / urlsplit(link).path).resolve() for link in links(page)]
        waiting += [one for one in targets if one in PAGES]
    assert {named(page) for page in PAGES} == {named(page) for page in reached}


def test_what_pydoc_is_asked_for_is_there():
    asked = [
        (page, name)
        for page in PAGES
        for name in re.findall(r"python -m pydoc ([\w.]+)", page.read_text())
    ]
    assert len(asked) >= 6
    for page, name in asked:
        assert pydoc.locate(name.rstrip(".")) is not None, f"{named(page)}: {name}"


def test_anchors_are_made_as_github_makes_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# What `auto` goes by\n\n## Budgets: when it stops\n\n## Same\n\n## Same\n")
    assert anchors(page) == {"what-auto-goes-by", "budgets-when-it-stops", "same", "same-1"}
    assert {page.relative_to(ROOT).parts[0] for page in PAGES} > set(FOLDERS) - {"docker"}
