"""optuna-dashboard on loopback, over studies that are derived while one looks."""

from __future__ import annotations

import errno
import importlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from evomerge.dashboard.derived import DerivedStudies
from evomerge.errors import EvomergeError, MissingExtra, UserError

HOST = "127.0.0.1"
REFRESH_S = 2.0
_READING = frozenset({"GET", "HEAD"})
_OWN_NAMES = frozenset({"127.0.0.1", "localhost"})


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Log nothing: a page asks every few seconds."""


class Dashboard:
    """Shows a run to this machine; while entered, keeps up with its journal.

    Args:
        run: the run directory; it is only read.
        port: to listen on; 0 takes one that is free.
        warn: told when the journal cannot be followed any more.

    Attributes:
        url: where to look.

    Raises:
        MissingExtra: optuna-dashboard is not installed.
        UserError: the port cannot be had, or the run not be read.
    """

    def __init__(self, run: Path, port: int, warn: Callable[[str], None]) -> None:
        try:
            dashboard = importlib.import_module("optuna_dashboard")
        except ImportError:
            raise MissingExtra("evomerge dashboard", "dashboard") from None
        self._derived = DerivedStudies(run)
        self._warn = warn
        self._stopped = threading.Event()
        app = read_only(dashboard.wsgi(self._derived.storage))
        try:
            self._server = make_server(HOST, port, app, server_class=_Server, handler_class=_Silent)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise UserError(
                f"--port {port}: {error.strerror}; name another, or 0 for any that is free"
            ) from None
        self.url = f"http://{HOST}:{self._server.server_port}/dashboard"

    def serve(self) -> None:
        """Answer until `stop`, or an exception such as KeyboardInterrupt."""
        self._server.serve_forever()

    def stop(self) -> None:
        """End `serve`, from another thread."""
        self._server.shutdown()

    def __enter__(self) -> Self:
        threading.Thread(target=self._keep_up, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._server.server_close()

    def _keep_up(self) -> None:
        while not self._stopped.wait(REFRESH_S):
            try:
                self._derived.refresh()
            except EvomergeError as error:
                self._warn(f"what is shown is no longer up to date: {error}")
                return


def read_only(app: WSGIApplication) -> WSGIApplication:
    """Refuse to change anything, and pages of others that a browser was led here by."""

    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "").partition(":")[0]
        if environ["REQUEST_METHOD"] in _READING and host in _OWN_NAMES:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [b'{"reason": "the journal of the run is the only record, and is only read here"}']

    return wrapped
