"""From names and options to optimizers: plug-ins, messages, and what an import costs."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from evomerge.errors import ConfigError, EvomergeError, PluginError, SpaceError
from evomerge.optimizers import OPTIMIZERS, build_optimizer
from evomerge.optimizers.build import option_names
from evomerge.optimizers.known_points import known_points
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.testing.problems import continuous_domain, merge_problem, sphere
from evomerge.testing.simulation import drive
from evomerge.types import Objective
from tests.optimizers.populations.test_cycle_qd import virtual

DOMAIN = continuous_domain(3)
BUILT_IN = ("random", "sobol", "cma_es", "cat_cma", "cma_wm", "nsga2", "map", "auto")


def test_every_builtin_is_listed_and_loads():
    others = {"como_cat_cma", "optuna"}
    assert set(BUILT_IN) | others <= set(OPTIMIZERS.names())
    for name in BUILT_IN:
        assert build_optimizer(name, DOMAIN, 1, 0, {}).ask(0).origin == "seed:corner"


@pytest.mark.parametrize(
    ("name", "n_objectives", "options", "message"),
    [
        (
            "cma_es",
            1,
            {"sigma": 0.2},
            "sigma: optimizer 'cma_es' has no such option; did you mean 'sigma0'?",
        ),
        ("nsga2", 2, {"pop": 9, "population": 9}, "pop: optimizer 'nsga2' has no such option"),
        ("random", 1, {"domain": 1}, "domain: optimizer 'random' has no such option; "),
        (
            "cma_es",
            2,
            {},
            "'cma_es' takes one objective and the study has 2; use nsga2, or como_cat_cma for two, "
            "or say how to combine them with 'scalarize: mean'",
        ),
        ("cat_cma", 3, {}, "'cat_cma' takes one objective and the study has 3; use nsga2, or say"),
        ("cma_wm", 2, {}, "'cma_wm' takes one objective and the study has 2; use nsga2"),
        (
            "como_cat_cma",
            1,
            {},
            "'como_cat_cma' needs two objectives and the study has 1; use cma_es, or cat_cma",
        ),
        ("como_cat_cma", 3, {}, "takes exactly two objectives and the study has 3; use nsga2"),
    ],
)
def test_wrong_options_name_the_right_ones(name, n_objectives, options, message):
    with pytest.raises(ConfigError) as error:
        build_optimizer(name, DOMAIN, n_objectives, 0, options)
    assert message in error.value.problems[0]


def test_all_unknown_options_are_reported_at_once():
    with pytest.raises(ConfigError) as error:
        build_optimizer("nsga2", DOMAIN, 2, 0, {"foo": 1, "population": 8, "bar": 2})
    assert [line.split(":")[0] for line in error.value.problems] == ["foo", "bar"]


def test_unknown_names_are_refused():
    with pytest.raises(PluginError, match="did you mean 'nsga2'"):
        build_optimizer("nsga22", DOMAIN, 2, 0, {})


PLUGIN = """
from evomerge.optimizers import Needs
from evomerge.optimizers.random import RandomSearch


class Mine(RandomSearch):
    needs = Needs(objectives="many")

    def __init__(self, domain, n_objectives, seed, *, strength, seeds=True):
        super().__init__(domain, n_objectives, seed, seeds=seeds)
        self.strength = strength


def backwards(seed, domain):
    return None


number = 3
"""


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    return tmp_path


def test_a_file_can_bring_an_optimizer(plugin):
    optimizer = build_optimizer("./mine.py:Mine", DOMAIN, 2, 0, {"strength": 2}, folder=plugin)
    assert optimizer.strength == 2


@pytest.mark.parametrize(
    ("attribute", "n_objectives", "options", "error", "message"),
    [
        ("Mine", 2, {}, ConfigError, "strength: optimizer './mine.py:Mine' needs a value"),
        ("Mine", 1, {"strength": 1}, ConfigError, "needs two or more objectives"),
        ("backwards", 1, {}, PluginError, "expected \\(domain, n_objectives, seed, ...\\) first"),
        ("number", 1, {}, PluginError, "is a int; expected a class"),
    ],
)
def test_faulty_plugins_are_refused(plugin, attribute, n_objectives, options, error, message):
    with pytest.raises(error, match=message):
        build_optimizer(f"./mine.py:{attribute}", DOMAIN, n_objectives, 0, options, folder=plugin)


@pytest.mark.parametrize("name", [*BUILT_IN, "optuna"])
@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ((), "has no genes"),
        ((Gene("g", low=1.0, high=1.0, initial=1.0),), "gene 'g': low must be below high"),
        ((Gene("g", high=float("inf")),), "gene 'g': bounds must be finite"),
        ((Gene("g", low=-1.0, log=True),), "gene 'g': a log gene needs low > 0"),
        ((Gene("g", "categorical", initial="a"),), "gene 'g': expected at least one choice"),
    ],
)
def test_domains_without_room_are_refused(name, genes, message):
    if name == "optuna":
        pytest.importorskip("optuna")
    with pytest.raises(SpaceError, match=message):
        build_optimizer(name, Domain(genes), 1, 0, {})


@pytest.mark.parametrize("seed", [-1, 1.5, "7", None, True])
def test_seeds_are_checked(seed):
    for name in BUILT_IN:
        with pytest.raises(ConfigError, match="seed: expected an integer >= 0"):
            build_optimizer(name, DOMAIN, 1, seed, {})


GENES = (
    Gene("w", low=0.0, high=2.0, initial=1),
    Gene("k", "integer", low=0, high=3, initial=1.0),
    Gene("c", "categorical", initial="x", choices=("x", "y")),
)


def test_known_points_become_plain_and_unique():
    domain = Domain(
        GENES,
        (
            Seed("a", (np.float64(0.1), np.int64(2), np.str_("y"))),
            Seed("twin of a", (0.1, 2, "y")),
            Seed("b", (0, 0, "x")),
        ),
    )
    points = known_points(domain)
    assert [point.origin for point in points] == ["seed:a", "seed:b", "initial"]
    assert [[type(value) for value in point.genotype] for point in points] == [
        [float, int, str]
    ] * 3


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        ((2.5, 0, "x"), "seed:s: gene 'w' is 2.5, outside \\[0, 2\\]"),
        ((float("nan"), 0, "x"), "seed:s: gene 'w' is nan, outside"),
        ((0.0, 1.5, "x"), "seed:s: gene 'k' is 1.5; expected an integer"),
        ((0.0, 0, "z"), "seed:s: gene 'c' is 'z'; expected one of \\['x', 'y'\\]"),
        ((0.0, 0), "seed:s: expected 3 values, got 2"),
    ],
)
def test_known_points_outside_the_domain_are_refused(genotype, message):
    with pytest.raises(SpaceError, match=message):
        known_points(Domain(GENES, (Seed("s", genotype),)))


@pytest.mark.parametrize("name", BUILT_IN)
def test_searching_prints_nothing_and_writes_nothing(name, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem = sphere(DOMAIN)
    drive(build_optimizer(name, DOMAIN, 1, 0, {}), problem, 60, failure_rate=0.2)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_naming_optimizers_imports_no_library():
    code = """
        import sys
        from evomerge.optimizers import OPTIMIZERS
        OPTIMIZERS.names()
        heavy = {"cma", "cmaes", "pymoo", "scipy", "optuna", "torch", "transformers", "matplotlib"}
        print(sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


STRANGE = (
    3,
    -1,
    0.5,
    math.nan,
    "x",
    "",
    [1],
    [],
    ["x"],
    [[1, 2]],
    {"x": 1},
    {1: 2},
    {"x": [1]},
    True,
)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_whatever_an_option_is_given_there_is_an_optimizer_or_a_line_that_says_why(name):
    tasks = [Objective(task, "maximize", (0.0, 1.0), 64) for task in ("a", "b")]
    domain, objectives = next(
        (domain, objectives)
        for domain in (merge_problem("two").domain, virtual())
        for objectives in (tasks, tasks[:1])
        if not refusal(name, domain, objectives, {})
    )
    for option in option_names(name, OPTIMIZERS.load(name)):
        for value in STRANGE:
            assert "\n" not in refusal(name, domain, objectives, {option: value})


def refusal(name, domain, objectives, options):
    """Return why an optimizer is not built, '' if it is; any other exception is a failure."""
    n_objectives = len(objectives)
    try:
        build_optimizer(name, domain, n_objectives, 1, options, objectives=objectives, budget=100)
    except EvomergeError as error:
        return str(error)
    return ""
