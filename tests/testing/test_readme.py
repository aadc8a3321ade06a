"""Tables go between the marks of the README beside a script, and nowhere else."""

import pytest

from evomerge.errors import UserError
from evomerge.testing.readme import publish

TEXT = """# Figures

<!-- one: begin -->
obsolete
<!-- one: end -->
kept
<!-- two: begin -->
<!-- two: end -->
"""


def test_only_what_is_between_the_marks_changes(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(TEXT)
    publish(tmp_path / "script.py", "one", iter(["| a |", ""]))
    publish(str(tmp_path / "script.py"), "two", ["b"])
    between = "<!-- one: begin -->\n\n| a |\n\n<!-- one: end -->"
    expected = TEXT.replace("<!-- one: begin -->\nobsolete\n<!-- one: end -->", between)
    expected = expected.replace("two: begin -->\n", "two: begin -->\n\nb\n\n")
    assert readme.read_text() == expected
    assert capsys.readouterr().out == "| a |\nb\n"
    publish(tmp_path / "script.py", "two", ["b"])
    assert readme.read_text() == expected


@pytest.mark.parametrize("text", ["nothing", "<!-- one: begin -->\nnever closed"])
def test_a_readme_without_the_marks_is_left_alone(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(UserError, match="has no '<!-- one: begin -->'"):
        publish(tmp_path / "script.py", "one", ["x"])
    assert (tmp_path / "README.md").read_text() == text
