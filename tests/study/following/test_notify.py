"""The message at the end of a run, on a server of loopback; its address is a secret."""

import json
import logging
import threading
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from evomerge.errors import EvomergeError, UserError
from evomerge.journal import read_events
from evomerge.study import load_study, resume_run, start_run
from evomerge.study import run as run_module
from evomerge.study.config import StudyConfig
from evomerge.study.following import notify as notify_module
from evomerge.study.following.config import NotifyConfig
from evomerge.study.following.notify import URL_VARIABLE, notify
from tests.study.fakes import FakeExecutor, Interrupting, config, without_models
from tests.study.test_run import Broken

SECRET = "T0PS3CRET"


class Server(ThreadingHTTPServer):
    """Keeps what it is sent; answers with one status after the other, the last for ever."""

    def __init__(self, statuses=(200,)):
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = list(statuses)
        self.got = []

    @property
    def address(self):
        return f"http://user:{SECRET}@127.0.0.1:{self.server_port}/hook/{SECRET}?key={SECRET}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        server.authorization = self.headers["Authorization"]
        statuses = server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(notify_module, "BACKOFF_S", 0.0)
    servers = []

    def started(*statuses):
        server = Server(statuses or (200,))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return server

    yield started
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_models(monkeypatch):
    without_models(monkeypatch, run_module)


def session(out, server, executor=None, *, lines, **changes):
    study = config(budget={"trials": 12}, notify={"url": server.address, **changes})
    made = executor or FakeExecutor()
    return start_run(study, out.parent, out, executor=lambda _: made, warn=lines.append)


def test_a_finished_run_says_what_it_came_to(tmp_path, serve):
    server, lines = serve(), []
    out = tmp_path / "run"
    session(out, server, lines=lines)
    ((path, kind, message),) = server.got
    assert (path, kind) == (f"/hook/{SECRET}?key={SECRET}", "application/json")
    assert b64decode(server.authorization.removeprefix("Basic ")).decode() == f"user:{SECRET}"
    assert lines == []
    events = read_events(out)
    finished = [event.payload for event in events if event.kind == "finished"]
    metrics = [one["metrics"] for one in finished if "metrics" in one]
    assert (message["event"], message["study"], message["run"]) == ("finish", "fake", str(out))
    assert message["reason"] == "budget: 12 trials"
    assert message["trials"] == {"finished": 12, "failed": 12 - len(metrics)}
    assert message["front"]["best"]["one"] == max(one["one"] for one in metrics)
    assert message["front"]["best"]["two"] == min(one["two"] for one in metrics)
    assert message["text"].startswith("evomerge: 'fake' finished: budget: 12 trials.")
    assert message["spent"]["worker_s"] >= 0


def test_a_failed_run_says_why_and_the_error_is_the_same(tmp_path, serve):
    server, lines = serve(), []
    with pytest.raises(EvomergeError, match="25 trials failed in a row"):
        start_run(
            config(budget={"trials": 400}, notify={"url": server.address}),
            tmp_path,
            tmp_path / "run",
            executor=lambda _: Broken(10),
            warn=lines.append,
        )
    ((_, _, message),) = server.got
    assert message["event"] == "failure"
    assert message["reason"].startswith("25 trials failed in a row")
    assert message["text"].startswith("evomerge: 'fake' failed: 25 trials failed")


@pytest.mark.parametrize(
    ("on", "broken", "told"),
    [
        (["failure"], False, 0),
        (["finish"], True, 0),
        (["failure"], True, 1),
        (["finish"], False, 1),
    ],
)
def test_only_what_was_asked_for(tmp_path, serve, on, broken, told):
    server, lines = serve(), []
    study = config(budget={"trials": 60}, notify={"url": server.address, "on": on})
    executor = Broken(5) if broken else FakeExecutor()
    try:
        start_run(study, tmp_path, tmp_path / "run", executor=lambda _: executor)
    except EvomergeError:
        assert broken
    assert (len(server.got), lines) == (told, [])


def test_a_run_that_cannot_go_on_says_why(tmp_path, serve, monkeypatch):
    server = serve()
    session(tmp_path / "run", server, Interrupting(5), lines=[])
    monkeypatch.setenv(URL_VARIABLE, server.address)

    def changed(*_args):
        raise UserError("flip changed since the run was started")

    monkeypatch.setattr(run_module, "_check_unchanged", changed)
    with pytest.raises(UserError, match="flip changed"):
        resume_run(tmp_path / "run", executor=lambda _: FakeExecutor())
    ((_, _, message),) = server.got
    assert message["event"] == "failure"
    assert message["reason"] == "flip changed since the run was started"


def test_an_interrupted_run_is_neither_finished_nor_failed(tmp_path, serve):
    server = serve()
    assert session(tmp_path / "run", server, Interrupting(5), lines=[]).state == "interrupted"
    assert server.got == []


def test_what_was_wrong_before_the_run_began_is_told_to_who_typed_it_only(tmp_path, serve):
    server = serve()
    broken = FakeExecutor()
    broken.wait = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        session(tmp_path / "run", server, broken, lines=[])
    assert server.got == []


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(tmp_path, serve):
    busy, lines = serve(503, 429, 200), []
    assert session(tmp_path / "busy", busy, lines=lines).state == "done"
    assert (len(busy.got), lines) == (3, [])
    refusing = serve(404)
    assert session(tmp_path / "refusing", refusing, lines=lines).state == "done"
    assert len(refusing.got) == 1
    assert lines == [
        f"notify: http://127.0.0.1:{refusing.server_port}/… was not told: it answered 404"
    ]
    down = serve(500)
    session(tmp_path / "down", down, lines=lines)
    assert (len(down.got), lines[-1].endswith("it answered 500")) == (4, True)


def test_nobody_at_home_is_a_line_and_the_address_is_in_no_log(tmp_path, caplog, serve):
    server = serve()
    address = server.address.replace(str(server.server_port), "9")
    lines = []
    caplog.set_level(logging.DEBUG)
    notify(NotifyConfig(url=address), {"text": "hello"}, lines.append)
    assert lines == ["notify: http://127.0.0.1:9/… was not told: NewConnectionError"]
    assert SECRET not in caplog.text
    assert not logging.getLogger("urllib3.connectionpool").disabled


def test_no_file_of_a_run_has_the_address_and_a_resumed_one_takes_it_from_the_environment(
    tmp_path, serve, monkeypatch
):
    server, out, lines = serve(), tmp_path / "run", []
    session(out, server, lines=lines)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert files
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
    recorded = read_events(out)[0].payload["study"]["notify"]
    assert recorded["url"] == f"http://127.0.0.1:{server.server_port}/…"
    resume_run(out, add={"trials": 2}, executor=lambda _: FakeExecutor(), warn=lines.append)
    assert len(server.got) == 1
    assert len(lines) == 2  # when it goes on, and when it is over
    assert all(URL_VARIABLE in line for line in lines)
    monkeypatch.setenv(URL_VARIABLE, server.address)
    resume_run(out, add={"trials": 2}, executor=lambda _: FakeExecutor(), warn=lines.append)
    assert (len(server.got), len(lines)) == (2, 2)
    assert server.got[-1][2]["reason"] == "budget: 16 trials"


def test_the_address_may_be_in_a_variable_of_its_own(tmp_path, serve, monkeypatch):
    server, out, lines = serve(), tmp_path / "run", []
    monkeypatch.setenv("MY_HOOK", server.address)
    study = config(budget={"trials": 8}, notify={"url": "${MY_HOOK}"})
    start_run(study, tmp_path, out, executor=lambda _: FakeExecutor(), warn=lines.append)
    resume_run(out, add={"trials": 2}, executor=lambda _: FakeExecutor(), warn=lines.append)
    assert (len(server.got), lines) == (2, [])
    assert read_events(out)[0].payload["study"]["notify"]["url"] == "${MY_HOOK}"
    monkeypatch.setenv("MY_HOOK", SECRET)
    resume_run(out, add={"trials": 2}, executor=lambda _: FakeExecutor(), warn=lines.append)
    assert lines[0].endswith("the environment variable MY_HOOK is no http address")
    assert SECRET not in "".join(lines)


@pytest.mark.parametrize("url", [f"ftp://host/{SECRET}", SECRET, f"https:///{SECRET}", "http://[x"])
def test_what_is_no_address_is_refused_without_repeating_it(tmp_path, url):
    with pytest.raises(ValidationError, match="expected http"):
        NotifyConfig(url=url)
    study = tmp_path / "study.yaml"
    text = StudyConfig.model_validate(config()).model_dump(mode="json", exclude_none=True)
    study.write_text(json.dumps({**text, "notify": {"url": url}}))
    with pytest.raises(UserError, match=r"notify\.url: expected http") as caught:
        load_study(study)
    assert SECRET not in str(caught.value)


STUDY = """
name: a
models: {base: b, donors: {c: d}}
space: ties
objectives: {x: {fitness: l1_distance}}
budget: {trials: 3}
notify:
  url: http://host/
  on: [finish]
"""


def test_a_study_may_write_on_without_quotes_although_yaml_reads_it_as_true(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    assert load_study(study).notify == NotifyConfig(url="http://host/", on=("finish",))
    study.write_text(STUDY.replace("[finish]", "[end]"))
    with pytest.raises(UserError, match=r"study\.yaml:\d+: notify.*'finish' or 'failure'"):
        load_study(study)


def test_no_occasion_at_all_is_refused():
    with pytest.raises(ValidationError):
        NotifyConfig(url="http://host/", on=())


def test_a_proxy_of_the_environment_carries_it(serve, monkeypatch):
    proxy, lines = serve(), []
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    notify(NotifyConfig(url=f"http://chat.example/{SECRET}"), {"text": "hello"}, lines.append)
    assert lines == []
    ((path, _, message),) = proxy.got
    assert (path, message) == (f"http://chat.example/{SECRET}", {"text": "hello"})
