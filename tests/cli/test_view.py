"""What one sees while a run goes on: how fast it goes, when it ends, how it stands."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from evomerge.cli.pace import RECENT, Pace
from evomerge.cli.view import LiveView, PlainLines, rate_words, watching
from evomerge.study.budgets.gauges import Gauge
from evomerge.study.progress import Progress
from tests.study.fakes import FakeClock


def step(finished, hours=0.0, **changes):
    """The search after so many trials and hours, limited by 100 trials and 9 hours."""
    gauges = (
        Gauge("trials", finished, 100, None, "trials"),
        Gauge("hours", hours, 9, 1 / 3600, "hours"),
        Gauge("stagnation", 99, 100, None, "trials without a gain"),
    )
    plain = Progress(
        "search",
        finished,
        100,
        failed=2,
        best={"math": 0.7512, "code": 0.5},
        front=7,
        hypervolume=0.4831,
        finished=finished,
        gauges=gauges,
    )
    return replace(plain, **changes)


def paced(steps, clock):
    """A pace that saw steps, each of which took some seconds."""
    pace = Pace(clock.monotonic)
    for seconds, one in steps:
        clock.pass_by(seconds)
        pace.see(one)
    return pace


def test_the_rate_is_that_of_the_session_and_not_of_what_was_replayed():
    clock = FakeClock()
    steps = [(0, step(number, replayed=True)) for number in range(1, 50)]
    steps += [(600, step(50)), (60, step(51)), (120, step(53))]
    assert paced(steps, clock).trials_per_s == pytest.approx(3 / 180)
    assert paced(steps[:50], clock).trials_per_s is None


def test_the_rate_is_that_of_the_latest_trials():
    clock = FakeClock()
    slow = [(1000, step(number)) for number in range(1, 20)]
    fast = [(5, step(20 + number)) for number in range(RECENT + 1)]
    assert paced(slow + fast, clock).trials_per_s == pytest.approx(1 / 5)


def test_whichever_budget_comes_first_ends_the_search_and_time_goes_on_between_steps():
    clock = FakeClock()
    pace = paced([(0, step(1)), (60, step(2, hours=1 / 60))], clock)
    ending = pace.ending()  # 98 trials at one a minute, before 9 hours
    assert (ending.kind, ending.left_s) == ("trials", pytest.approx(98 * 60))
    slow = paced([(0, step(1)), (3600, step(2, hours=1.0))], clock)
    assert (slow.ending().kind, slow.ending().left_s) == ("hours", pytest.approx(8 * 3600))
    clock.pass_by(1800)
    assert slow.ending().left_s == pytest.approx(7.5 * 3600)
    hours = {one.kind: one.used for one in slow.gauges}["hours"]
    assert hours == pytest.approx(1.5)
    clock.pass_by(9 * 3600)
    assert slow.ending().left_s == 0
    assert Pace(clock.monotonic).ending() is None


@pytest.mark.parametrize(
    ("per_s", "words"),
    [(2.5, "2.5 trials/s"), (1 / 30, "2 trials/min"), (1 / 90, "40 trials/h"), (1 / 7200, "0.5")],
)
def test_rates_in_words(per_s, words):
    assert rate_words(per_s).startswith(words)


def drawn(view, console):
    console.print(view)
    return re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue())


def test_the_live_view_shows_front_budgets_failures_pace_and_end():
    clock = FakeClock()
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    view = LiveView(console, clock.monotonic)
    view(step(1))
    clock.pass_by(60)
    view(step(2, hours=1 / 60, stage="layers"))
    view(Progress("search", 0, None, note="auto: nsga2"))
    clock.pass_by(1740)
    shown = drawn(view, console)
    for words in (
        "searching layers",
        "2/100",
        "math 0.751",
        "code 0.5",
        "front 7, hypervolume 0.483",
        "2 of 100 trials, 0.5 of 9 hours, 99 of 100 trials without a gain",
        "1 trials/min, 2 failed, ends in about 1 h 38 min by trials",
        "auto: nsga2",
    ):
        assert words in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 100


def test_the_live_view_before_the_first_step_and_while_the_front_is_scored():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    view = LiveView(console)
    assert drawn(view, console).strip() == ""
    view(step(100))
    view(Progress("score", 3, 8))
    shown = drawn(view, console)
    assert "scoring" in shown
    assert "ends in" not in shown
    assert "3/8" in shown


def test_one_objective_has_no_front_to_speak_of():
    out = io.StringIO()
    PlainLines(out)(step(1, best={"math": 0.75}, front=1, hypervolume=None))
    assert "front" not in out.getvalue()
    assert "math 0.75" in out.getvalue()


def test_without_a_terminal_there_is_a_line_now_and_then():
    clock = FakeClock()
    out = io.StringIO()
    lines = PlainLines(out, clock.monotonic)
    lines(step(1, replayed=True))
    for number in range(2, 12):
        lines(step(number))
        clock.pass_by(2)
    lines(Progress("search", 0, None, note="auto: nsga2"))
    lines(step(100, stage="layers"))
    lines(Progress("score", 8, 8))
    found = out.getvalue().splitlines()
    assert [line.split(";")[0] for line in found] == [
        "searching 2/100 after 0 s",
        "searching 10/100 after 16 s",
        "auto: nsga2",
        "searching layers 100/100 after 20 s",
        "scoring 8/8 after 20 s",
    ]
    assert "front of 7, hypervolume 0.483; 30 trials/min, 2 failed, ends in about 3 min" in found[1]


def test_standard_error_is_no_terminal_here(capsys):
    with watching(quiet=False) as observe:
        observe(step(1))
    with watching(quiet=True) as observe:
        observe(step(2))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("searching 1/100 after 0 s; math 0.751  code 0.5; front of 7")
    assert len(shown.err.splitlines()) == 1
