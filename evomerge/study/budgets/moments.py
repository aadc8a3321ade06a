"""Times of day and of the calendar: deadlines as users write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from evomerge.errors import UserError

_OF_THE_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_EXAMPLES = "'07:30' for the next time it is that late here, or '2026-10-20T07:30+02:00'"


def checked_moment(value: object) -> str:
    """Return a deadline as it was written.

    Raises:
        ValueError: it is no time of day, and no date and time with a zone.
    """
    if not isinstance(value, str):
        hint = ", in quotes, since YAML reads 17:30 as a number" if isinstance(value, int) else ""
        raise ValueError(f"expected a time, got {value!r}; write {_EXAMPLES}{hint}")  # noqa: TRY004
    if not _OF_THE_DAY.fullmatch(value):
        _dated(value)
    return value


def moment_of(text: str, now: float) -> float:
    """Return a deadline in seconds since the epoch.

    Args:
        text: as `checked_moment` takes it.
        now: what time it is; a time of day means the next one, in the local zone.

    Raises:
        ValueError: it is no time.
    """
    clock = _OF_THE_DAY.fullmatch(text)
    if clock is None:
        return _dated(text).timestamp()
    hour, minute = map(int, clock.groups())
    today = datetime.fromtimestamp(now).replace(hour=hour, minute=minute, second=0, microsecond=0)
    # Naive, and so local: a day later it may be another distance from UTC.
    return next(at for day in (0, 1, 2) if (at := _local(today, day)) > now)


def written(moment: float) -> str:
    """Write a time with its zone, to the second, as the local clock shows it."""
    return datetime.fromtimestamp(round(moment)).astimezone().isoformat(timespec="seconds")


def shown(moment: float) -> str:
    """Write a time for reading, as the local clock shows it."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def fixed_deadline(text: str, now: float) -> str:
    """Return a deadline with its date and zone, so that it means the same tomorrow.

    Raises:
        UserError: it is over.
    """
    moment = moment_of(text, now)
    if moment <= now:
        raise UserError(f"deadline: {text} is over, it is {written(now)}; give a later one")
    return written(moment)


def _local(day: datetime, later: int) -> float:
    return (day + timedelta(days=later)).timestamp()


def _dated(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write {_EXAMPLES}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone; write {_EXAMPLES}")
    return moment
