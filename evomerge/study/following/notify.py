"""A word to a web address when a run has finished or failed.

The address is a secret: whoever has it can write to the user's channel. It stands in no journal, no
log and no message.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from evomerge.study.following.config import NotifyConfig, is_address, redacted

URL_VARIABLE = "EVOMERGE_NOTIFY_URL"
"""Has the address of a resumed run whose study gave it plainly, so that no journal has it."""

TIMEOUT_S = 5.0
RETRIES = 3
BACKOFF_S = 0.5
_TRY_AGAIN = (429, 500, 502, 503, 504)


def notify(config: NotifyConfig, message: Mapping[str, Any], warn: Callable[[str], None]) -> None:
    """Post a message; what goes wrong is a line for the user.

    Args:
        config: where to.
        message: JSON data.
        warn: told that it did not arrive.
    """
    try:
        address = address_of(config)
    except LookupError as error:
        warn(f"notify: nobody was told, since {error}")
        return
    try:
        with _unlogged(), _pool(address) as pool:
            headers = _authorization(address)
            response = pool.request("POST", address, json=dict(message), headers=headers)
        failure = f"it answered {response.status}" if response.status >= 400 else ""
    except urllib3.exceptions.HTTPError as error:  # its text has the address
        failure = type(getattr(error, "reason", None) or error).__name__
    if failure:
        warn(f"notify: {redacted(address)} was not told: {failure}")


def address_of(config: NotifyConfig) -> str:
    """Return where to post.

    Raises:
        LookupError: the address is in no variable of the environment; the message says which.
    """
    if config.variable is None and not config.is_redacted:
        return config.url
    name = config.variable or URL_VARIABLE
    address = os.environ.get(name, "")
    if not is_address(address):
        state = "is no http address" if address else "is not set"
        raise LookupError(f"the environment variable {name} {state}")
    return address


def _pool(address: str) -> urllib3.PoolManager:
    """Return what posts there, through the proxy that the environment names, if it does."""
    parts = urlsplit(address)
    retries = urllib3.Retry(
        RETRIES,
        backoff_factor=BACKOFF_S,
        status_forcelist=_TRY_AGAIN,
        allowed_methods=None,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    proxy = getproxies().get(parts.scheme)
    if proxy is None or proxy_bypass(parts.hostname or ""):
        return urllib3.PoolManager(retries=retries, timeout=TIMEOUT_S)
    return urllib3.ProxyManager(proxy, retries=retries, timeout=TIMEOUT_S)


def _authorization(address: str) -> dict[str, str]:
    """Return the header for the user and password of an address, where it has them."""
    parts = urlsplit(address)
    if parts.username is None:
        return {}
    user, password = unquote(parts.username), unquote(parts.password or "")
    return dict(urllib3.make_headers(basic_auth=f"{user}:{password}"))


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep urllib3 from writing the address to whatever log the application keeps."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("urllib3")]
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, was_disabled in zip(loggers, before, strict=True):
            logger.disabled = was_disabled
