"""Telling the world of a run: callbacks while it goes on, a message when a session has ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evomerge.errors import EvomergeError
from evomerge.journal import read_events, read_sessions
from evomerge.study.budgets.meter import spent_in
from evomerge.study.config import StudyConfig
from evomerge.study.following.config import Occasion
from evomerge.study.following.followers import Followers
from evomerge.study.following.notify import address_of, notify
from evomerge.study.following.telling import EndState
from evomerge.study.seen import SeenRun


class Announcing:
    """While entered and begun, shows a run elsewhere; tells of its end when left.

    Nothing that goes wrong here ends a run or changes what it comes to.

    Args:
        run: the run directory.
        warn: told of what went wrong.
    """

    def __init__(self, run: Path, warn: Callable[[str], None]) -> None:
        self._run = run
        self._warn = warn
        self._config: StudyConfig | None = None
        self._followers: Followers | None = None
        self._ended: tuple[EndState, str] = ("interrupted", "")

    def about(self, config: StudyConfig) -> None:
        """Say whose run it is: from here on a failure is told of."""
        self._config = config

    def begin(self, config: StudyConfig) -> None:
        """Start what follows the run, whose journal is opened.

        An address that is not there is told of now: whoever is asleep when the run ends cannot
        mend it.
        """
        self.about(config)
        if config.notify is not None:
            try:
                address_of(config.notify)
            except LookupError as error:
                self._warn(f"notify: nobody will be told of the end, since {error}")
        self._followers = Followers(self._run, config.callbacks, self._warn)

    def ended(self, state: EndState, reason: str) -> None:
        """Say how the session ended."""
        self._ended = (state, reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._config is None:
            return
        if isinstance(error, Exception):
            name = "" if isinstance(error, EvomergeError) else f"{type(error).__name__}: "
            self._ended = ("failed", name + (str(error).splitlines() or [""])[0])
        if self._followers is not None:
            self._followers.end(*self._ended)
        occasions: dict[EndState, Occasion] = {"done": "finish", "failed": "failure"}
        occasion = occasions.get(self._ended[0])
        if self._config.notify is not None and occasion in self._config.notify.on:
            try:
                notify(self._config.notify, self._message(occasion), self._warn)
            except EvomergeError as unreadable:
                self._warn(f"notify: nobody was told: {unreadable}")

    def _message(self, occasion: Occasion) -> dict[str, Any]:
        """Return what the run came to; `text` is what chats show."""
        events = read_events(self._run)
        run = SeenRun.of(events)
        standing, reason = run.standing, self._ended[1]
        spent = spent_in(read_sessions(self._run), events)
        best = ", ".join(f"{name} {value:.4g}" for name, value in standing.best.items())
        what = "finished" if occasion == "finish" else "failed"
        return {
            "text": f"evomerge: '{run.config.name}' {what}: {reason}. {run.n_finished} trials, "
            f"{standing.failed} failed; best: {best or 'none'}; front of {len(standing.front)}",
            "event": occasion,
            "study": run.config.name,
            "run": str(self._run),
            "reason": reason,
            "trials": {"finished": run.n_finished, "failed": standing.failed},
            "spent": {
                "search_s": spent.search_s,
                "worker_s": spent.worker_s,
                "gpu_s": spent.gpu_s,
                "cost": run.cost,
            },
            "front": {
                "size": len(standing.front),
                "hypervolume": standing.hypervolume(),
                "best": dict(standing.best),
            },
        }
