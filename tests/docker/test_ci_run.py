"""What `.ci/run` does about a browser, with stand-ins for everything that it calls."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.report.browser import NAMES

ROOT = Path(__file__).parents[2]
STEPS = ["make check", "make .venv/audit", "python .ci/audit.py", "make test"]
INSTALLED = ["apt-get update -qq", "apt-get install -y -qq chromium"]
SAYS = "no browser, and none could be installed: tests that need one skip\n"


@pytest.fixture
def ci(tmp_path):
    """Return (programs: name to content) -> what `.ci/run` called, and what it printed."""

    def run(**programs):
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
        places = {tmp_path / "bin" / name: content for name, content in programs.items()}
        places |= {
            tmp_path / "bin" / "make": "",
            tmp_path / ".venv" / "audit" / "bin" / "python": "",
        }
        for place, content in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >> "{tmp_path}/calls"\n{content}\n')
            place.chmod(0o755)
        for name in ("bash", "sh", "dirname"):
            (tmp_path / "bin" / name).symlink_to(shutil.which(name))
        done = subprocess.run(
            [tmp_path / ".ci" / "run"],
            env={"PATH": str(tmp_path / "bin")},
            capture_output=True,
            text=True,
            check=True,
        )
        calls = (tmp_path / "calls").read_text().splitlines()
        return [one for one in calls if not one.startswith("id ")], done.stdout

    return run


def test_a_browser_is_installed_where_that_can_be(ci):
    assert ci(**{"id": "echo 0", "apt-get": ""}) == (INSTALLED + STEPS, "")


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_that_is_there_will_do(ci, name):
    assert ci(**{"id": "echo 0", "apt-get": "", name: ""}) == (STEPS, "")


@pytest.mark.parametrize(
    ("programs", "calls"),
    [
        ({"id": "echo 1000", "apt-get": ""}, []),
        ({"id": "echo 0"}, []),
        ({"id": "echo 0", "apt-get": "exit 100"}, INSTALLED[:1]),
    ],
    ids=["no root", "no apt", "no network"],
)
def test_without_one_the_rest_is_done_and_a_line_says_what_skips(ci, programs, calls):
    assert ci(**programs) == (calls + STEPS, SAYS)


def test_the_names_are_those_that_the_tests_look_for():
    (looked_for,) = re.findall(r"command -v (.+) > /dev/null", (ROOT / ".ci" / "run").read_text())
    assert tuple(looked_for.split()) == NAMES
