"""Every command of every page is typed, in its order, as a reader would; what is not is listed."""

import re
import shlex
import shutil

import pytest
import torch

from . import reader, typed
from .pages import PAGES, ROOT, named

README = ROOT / "README.md"
MORE = {  # what a reader of these has beside a run
    "evomerge/cost/README.md": reader.provide_study,
    "evomerge/recipe/README.md": reader.provide_front,
    "experiments/quickstart/README.md": reader.provide_scripts,
}
LEFT = {  # what commands say that they leave
    "README.md": [
        "quickstart/front/front.html",
        "runs/my-study/journal.sqlite",
        "report/report.html",
        *("front/front.csv", "front/front.png", "front/front.html"),
        *("home/model.safetensors", "home/tokenizer.json", "home/README.md"),
        *("out/journal.sqlite", "study.yaml"),
    ],
    "evomerge/migrate/README.md": ["out/journal.sqlite", "study.yaml"],
    "evomerge/recipe/README.md": ["merged/model.safetensors"],
    "evomerge/release/README.md": ["home/model.safetensors", "adapter/adapter_model.safetensors"],
    "experiments/quickstart/README.md": ["experiments/quickstart/front.png"],
    "evomerge/report/README.md": ["front/front.csv", "report/report.html", "monday/report.md"],
}


def is_typed(page):
    return any(typed.reason_against(words, page) is None for words in typed.commands_of(page))


GUIDES = [page for page in PAGES if page != README and is_typed(page)]


@pytest.fixture(scope="session")
def continued(tmp_path_factory):
    """Where the guides go on."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("reader")
    reader.provide_models(folder)
    reader.provide_evolve(folder)
    reader.provide_run(folder)
    return folder


def trouble(page, folder):
    """Type the commands of a page; return what the first that fails says, or which files lack."""
    for words in typed.commands_of(page):
        if typed.reason_against(words, page) is None:
            code, said = typed.call(typed.argv(words, folder), folder)
            if code != 0:
                return [f"{shlex.join(words)}: ended with {code}\n{said}"]
    return [file for file in LEFT.get(named(page), ()) if not (folder / file).is_file()]


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path):
    """By a stranger, who has nothing but models."""
    reader.provide_models(tmp_path)
    reader.provide_evolve(tmp_path)
    reader.provide_make(tmp_path)
    assert trouble(README, tmp_path) == []


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_the_commands_of_a_guide_run(page, continued, tmp_path):
    shutil.copytree(continued, tmp_path, symlinks=True, dirs_exist_ok=True)
    if named(page) in MORE:
        MORE[named(page)](tmp_path)
    assert trouble(page, tmp_path) == []


def test_a_command_that_fails_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(typed, "commands_of", lambda page: [["evomerge", "front"]])
    (said,) = trouble(README, tmp_path)
    assert re.search(r"ended with 2\n *evomerge: no run found here", said)
    monkeypatch.setattr(typed, "commands_of", lambda page: [["make", "-s", "nothing"]])
    (said,) = trouble(README, tmp_path)
    assert said.startswith("make -s nothing: ended with 2")
    monkeypatch.setattr(typed, "commands_of", lambda page: [])
    assert trouble(README, tmp_path) == LEFT["README.md"]


@pytest.mark.parametrize(
    "rule", [*filter(typed.PAGES.get, typed.PAGES), *typed.PROGRAMS, *typed.WORDS]
)
def test_what_is_not_typed_is_there(rule):
    rules = {
        found[0]
        for page in PAGES
        for words in typed.commands_of(page)
        if (found := typed.reason_against(words, page)) is not None
    }
    assert rule in rules, f"no command is left out for '{rule}' any more; take it off the list"
