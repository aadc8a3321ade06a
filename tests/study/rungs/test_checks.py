"""What does not fit is said before a run: in the section, and between it and the objectives."""

from pathlib import Path

import numpy as np
import pytest

from evomerge.errors import ConfigError, UserError
from evomerge.estimators import ItemParameters
from evomerge.study import load_study
from evomerge.study.problems import Problems
from evomerge.study.rungs.checks import check_rungs
from evomerge.study.rungs.config import RungsConfig
from evomerge.types import Objective
from evomerge.workers.spec import ObjectiveSpec, ProxySpec
from tests.study.fakes import config

TEXT = """name: small
models: {base: ./base, donors: {a: ./a}}
space: task_arithmetic
objectives:
  one: {fitness: ./fit.py:one, search: items.jsonl}
RUNGS
budget: {trials: 10}
"""


@pytest.mark.parametrize(
    ("rungs", "says"),
    [
        ("rungs: {items: []}", "rungs.items"),
        ("rungs: {items: [20, 10]}", "each rung has more items than the one below"),
        ("rungs: {items: [10], promote: 1.0}", "rungs.promote"),
        ("rungs: {items: [10], promote: null}", "give promote or race"),
        ("rungs: {items: [10], cohort: 5}", "cohort goes with rule: halving"),
        ("rungs: {items: [10], brackets: 3}", "2 with that of all items; use 'brackets: all'"),
        ("rungs: {items: [10], brackets: most}", "rungs.brackets"),
        ("rungs: {items: [10], promote: null, race: 0.1, brackets: 2}", "give promote"),
        ("rungs: {items: [10], share: 0.5}", "rungs.share"),
        ("rungs: {items: [10]}\nbatches: {items: 4, trials: 2}", "remove one of both"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, rungs, says):
    file = tmp_path / "study.yaml"
    file.write_text(TEXT.replace("RUNGS", rungs))
    with pytest.raises(ConfigError) as caught:
        load_study(file)
    assert says in str(caught.value)


def test_no_budget_at_all_is_refused():
    with pytest.raises((UserError, ValueError), match="give trials, items, hours"):
        config(budget={})


def part(name, proxied, search=None):
    proxy = ProxySpec("p", {}, None, "minimize") if proxied else None
    return ObjectiveSpec(Objective(name, bounds=(0, 1)), "f", proxy=proxy, search=search)


@pytest.mark.parametrize(
    ("proxied", "with_items", "says"),
    [
        ([True, False], ["one", "two"], ["objectives.two: 'one' has a proxy"]),
        ([True, True], ["one"], ["objectives.two.proxy: there are no search items"]),
        ([True, False], ["one"], []),
        ([False, False], [], ["rungs: no objective has search items"]),
    ],
)
def test_proxies_and_items_must_go_together(proxied, with_items, says):
    problems = Problems()
    parts = [part(name, own) for name, own in zip(("one", "two"), proxied, strict=True)]
    items = {name: {"search": tuple({"id": f"i{k}"} for k in range(9))} for name in with_items}
    check_rungs(RungsConfig(items=(5,)), parts, items, Path(), problems)
    assert len(problems.lines) == len(says)
    for line, start in zip(problems.lines, says, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize(
    ("rungs", "says"),
    [
        ({"items": (5,), "keep": 0.2}, "rungs.keep: it is about proxies"),
        ({"items": (5,), "least_correlation": 0}, "rungs.least_correlation: it is about proxies"),
        ({"items": (5, 9)}, "rungs.items: 9 are not a part"),
        ({"items": (4, 12, 30)}, "rungs.items: 12 are not a part"),
    ],
)
def test_what_would_do_nothing_is_refused(rungs, says):
    problems = Problems()
    items = {"one": {"search": tuple({"id": f"i{k}"} for k in range(9))}}
    check_rungs(RungsConfig(**rungs), [part("one", False, "s")], items, Path(), problems)
    (line,) = problems.lines
    assert line.startswith(says)


def test_a_recorded_study_that_spells_out_every_default_is_sound():
    problems = Problems()
    items = {"one": {"search": tuple({"id": f"i{k}"} for k in range(9))}}
    recorded = RungsConfig.model_validate(RungsConfig(items=(5,)).model_dump(mode="json"))
    check_rungs(recorded, [part("one", False, "s")], items, Path(), problems)
    assert problems.lines == []


def test_items_that_could_not_be_read_are_not_said_to_be_none():
    problems = Problems()
    check_rungs(RungsConfig(items=(5,)), [part("one", True, "gone")], {}, Path(), problems)
    assert problems.lines == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"race": 0.1}, "objectives.one: race needs"),
        ({"order": "entropy"}, "objectives.one: an order or estimator"),
        ({"estimator": "gmp_irt"}, "objectives.one: an order or estimator"),
    ],
)
def test_what_counts_on_bounds_asks_for_them(changes, says):
    problems = Problems()
    items = {"one": {"search": tuple({"id": f"i{k}"} for k in range(9))}}
    loss = ObjectiveSpec(Objective("one", "minimize", bounds=(0, None)), "f", search="s")
    check_rungs(RungsConfig(items=(5,), **changes), [loss], items, Path(), problems)
    assert problems.lines[0].startswith(says)


def test_a_proxy_without_rungs_is_refused(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: small\nmodels: {base: ./base, donors: {a: ./a}}\nspace: task_arithmetic\n"
        "objectives:\n  one: {fitness: f, search: i.jsonl, proxy: {fitness: p}}\n"
        "budget: {trials: 10}\n"
    )
    with pytest.raises(ConfigError, match="add rungs"):
        load_study(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file; name one that"),
        ("{", "no file of item parameters: "),
        ("{}", "not a file of item parameters; expected the keys"),
    ],
)
def test_item_parameters_that_cannot_be_read_are_told_in_one_line(tmp_path, content, says):
    if content is not None:
        (tmp_path / "items.json").write_text(content)
    items = {"one": {"search": tuple({"id": f"i{k}"} for k in range(9))}}
    problems = Problems()
    rungs = RungsConfig(items=(5,), estimator={"name": "p_irt", "items": "items.json"})
    check_rungs(rungs, [part("one", False, "s")], items, tmp_path, problems)
    (line,) = problems.lines
    assert line.startswith(f"rungs.estimator.items: {tmp_path / 'items.json'}: ")
    assert says in line


def two_objectives(tmp_path, files):
    """Check a study of two objectives whose estimator is given files of item parameters."""
    ids = {"one": [f"i{k}" for k in range(9)], "two": [f"j{k}" for k in range(9)]}
    for name, own in ids.items():
        parameters = ItemParameters(own, np.ones((9, 1)), np.zeros(9))
        parameters.save(tmp_path / f"{name}.json")
    items = {name: {"search": tuple({"id": one} for one in own)} for name, own in ids.items()}
    rungs = RungsConfig(items=(5,), estimator={"name": "p_irt", "items": files})
    problems = Problems()
    parts = [part(name, False, "s") for name in ids]
    check_rungs(rungs, parts, items, tmp_path, problems)
    return problems.lines


def test_each_objective_has_item_parameters_of_its_own(tmp_path):
    assert two_objectives(tmp_path, {"one": "one.json", "two": "two.json"}) == []
    assert two_objectives(tmp_path, {"two": "two.json"}) == []  # those of the other are fitted
    (line,) = two_objectives(tmp_path, {"one": "two.json"})
    assert line.startswith("rungs.estimator: ")
    assert "i0" in line
    (line,) = two_objectives(tmp_path, {"oen": "one.json"})
    assert line == ("rungs.estimator.items.oen: no such objective has items; did you mean 'one'?")


@pytest.mark.parametrize("name", ["regression", "random"])
def test_what_fits_no_items_is_not_fitted_anew(name):
    items = {"one": {"search": tuple({"id": f"i{k}"} for k in range(9))}}
    problems = Problems()
    rungs = RungsConfig(items=(5,), estimator={"name": name, "refit": 4})
    check_rungs(rungs, [part("one", False, "s")], items, Path(), problems)
    assert problems.lines == [f"rungs.estimator.refit: '{name}' fits no items; remove it"]
