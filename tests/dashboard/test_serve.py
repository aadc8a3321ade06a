"""optuna-dashboard itself on loopback: what it shows, and that it changes nothing."""

import json
import socket
import threading
from http.client import HTTPConnection
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

import pytest

from evomerge.cli.app import app
from evomerge.dashboard import Dashboard
from evomerge.dashboard import serve as serve_module
from evomerge.dashboard.serve import read_only
from evomerge.errors import MissingExtra, UserError
from evomerge.journal import read_events
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from tests.study.fakes import FakeExecutor, config, without_models


@pytest.fixture
def run(tmp_path, monkeypatch):
    without_models(monkeypatch, run_module)
    out = tmp_path / "run"
    study = config(space="tests.study.fakes:plain_space", budget={"trials": 12})
    start_run(study, tmp_path, out, executor=lambda _: FakeExecutor())
    return out


@pytest.fixture
def shown(run, monkeypatch):
    monkeypatch.setattr(serve_module, "REFRESH_S", 0.05)
    with Dashboard(run, 0, pytest.fail) as dashboard:
        thread = threading.Thread(target=dashboard.serve)
        thread.start()
        yield dashboard
        dashboard.stop()
        thread.join()


def asked(dashboard, path, method="GET", **headers):
    address = urlsplit(dashboard.url)
    connection = HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_it_is_on_loopback_and_shows_the_trials_of_the_journal(run, shown):
    assert urlsplit(shown.url).hostname == "127.0.0.1"
    status, page = asked(shown, "/dashboard")
    assert (status, b"<html" in page) == (200, True)
    status, found = asked(shown, "/api/studies")
    (summary,) = json.loads(found)["study_summaries"]
    assert summary["study_name"] == "fake"
    _, found = asked(shown, f"/api/studies/{summary['study_id']}?after=0")
    detail = json.loads(found)
    assert len(detail["trials"]) == 12
    assert detail["objective_names"] == ["one", "two"]
    metrics = {e.trial: e.payload.get("metrics") for e in read_events(run) if e.kind == "finished"}
    for trial in detail["trials"]:
        values = metrics[trial["number"]]
        assert trial["state"] == ("Complete" if values else "Fail")
        assert trial.get("values") == (values and [values["one"], values["two"]])
    assert {one["key"] for one in detail["union_user_attrs"]} >= {"fingerprint", "origin", "trial"}


def test_it_keeps_up_with_the_run(run, shown):
    resume_run(run, add={"trials": 5}, executor=lambda _: FakeExecutor())
    storage = shown._derived.storage
    waiting = threading.Event()
    for _ in range(600):
        if sum(one.state.is_finished() for one in storage.get_all_trials(0)) == 17:
            break
        waiting.wait(0.05)
    assert [one.number for one in storage.get_all_trials(0)] == list(range(17))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/studies/0"),
        ("POST", "/api/studies"),
        ("POST", "/api/studies/0/rename"),
        ("PUT", "/api/studies/0/note"),
        ("POST", "/api/trials/0/tell"),
    ],
)
def test_nothing_can_be_changed(shown, method, path):
    status, answer = asked(shown, path, method)
    assert (status, b"only read" in answer) == (403, True)
    assert len(shown._derived.storage.get_all_studies()) == 1


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", "200"), ("localhost:8080", "200"), ("evil.example:8080", "403"), ("", "403")],
)
def test_a_page_of_others_gets_no_answer(host, status):
    environ = {"HTTP_HOST": host}
    setup_testing_defaults(environ)
    answers = []

    def answer(_, start_response):
        start_response("200 OK", [])
        return [b""]

    list(read_only(answer)(environ, lambda line, _: answers.append(line)))
    assert answers[0].startswith(status)


def test_a_port_that_is_taken_is_one_line(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: .*name another"):
            Dashboard(run, port, print)


def test_a_missing_library_names_the_extra(run, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(serve_module.importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"evomerge\[dashboard\]"):
        Dashboard(run, 0, print)


def test_a_journal_that_is_gone_is_a_warning_and_the_page_stays(run, monkeypatch):
    monkeypatch.setattr(serve_module, "REFRESH_S", 0.01)
    lines, warned = [], threading.Event()

    def warn(line):
        lines.append(line)
        warned.set()

    with Dashboard(run, 0, warn) as dashboard:
        (run / "journal.sqlite").rename(run / "elsewhere")
        assert warned.wait(30)
        assert len(dashboard._derived.storage.get_all_trials(0)) == 12
    assert lines[0].startswith("what is shown is no longer up to date:")


@pytest.mark.parametrize("browser", [True, False])
def test_the_command_opens_a_browser_or_not(run, monkeypatch, capsys, browser):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Dashboard, "serve", interrupted)
    arguments = ["dashboard", str(run), "--port", "0", *([] if browser else ["--no-browser"])]
    assert app(arguments, standalone_mode=False) in (0, None)
    said = capsys.readouterr().out
    assert "http://127.0.0.1:" in said
    assert len(opened) == browser
    assert all(url in said for url in opened)
