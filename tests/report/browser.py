"""A headless Chromium that tests drive over the DevTools protocol; see the `browser` fixture."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import websocket
from matplotlib.image import imread

from tests.report.test_interactive import figures_in

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_INKS = {False: "rgb(34, 34, 34)", True: "rgb(232, 232, 232)"}
_START_S = 60
_ANSWER_S = 60


def executable() -> str | None:
    """Return the browser of this machine, if it has one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, address: str) -> None:
        # the browser refuses whoever names an origin that it was not told of
        self._socket = websocket.create_connection(address, timeout=_ANSWER_S, suppress_origin=True)
        self._last = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self.send("Browser.close")
        self._socket.close()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._last:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        """Keep what the console says, and what is fetched."""
        method, content = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(content["exceptionDetails"])[:2000])
        elif method == "Runtime.consoleAPICalled" and content["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(content["args"])[:2000])
        elif method == "Log.entryAdded" and content["entry"]["level"] in ("error", "warning"):
            self.complaints.append(content["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(content["request"]["url"])

    def run(self, script: str) -> Any:
        """Evaluate an expression, promises awaited."""
        found = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + _ANSWER_S
        while not self.run(condition):
            assert time.monotonic() < until, f"never true: {condition}"
            time.sleep(0.05)

    def open(self, file: Path, width: int, *, dark: bool = False) -> None:
        """Open a page at a width in CSS pixels, and wait until all of its figures are drawn."""
        self.look(width, dark=dark)
        self.complaints.clear()
        self.requests.clear()
        self.send("Page.navigate", url=file.resolve().as_uri())
        drawn = "[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))"
        self.wait_for(f"document.readyState == 'complete' && {drawn}")

    def look(self, width: int, *, dark: bool = False) -> None:
        """Set the width, and whether the reader prefers dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def click(self, x: float, y: float) -> None:
        """Move to a place of the window and press."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        time.sleep(0.2)  # plotly looks for what is under the pointer at most so often
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x + 1, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def whole_picture(self, path: Path) -> Path:
        """Write the whole page as a PNG."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        found = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(found["data"]))
        return path


def require_drawn(
    tab: Page, page: Path, width: int, picture: Path, *, dark: bool = False
) -> dict[str, Any]:
    """Open a report and look at it: nothing is said or fetched, every figure has its marks.

    Args:
        tab: to open it in.
        page: the report.
        width: of the window in CSS pixels.
        picture: where a picture of the whole page is put.
        dark: what the reader prefers.

    Returns:
        The figures by name, as plotly is given them.
    """
    tab.open(page, width, dark=dark)
    assert tab.complaints == []
    assert [one for one in tab.requests[1:] if not one.startswith("data:")] == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    figures = figures_in(page)
    for name, figure in figures.items():
        marks = tab.run(
            f"document.querySelectorAll('#{name} :is(.point, .lines path, .hm image)').length"
        )
        seen = [trace for trace in figure["data"] if trace.get("visible") is not False]
        assert marks >= len(seen) > 0, name
        box = tab.run(f"document.getElementById('{name}').getBoundingClientRect().width")
        assert box > 0.85 * min(width - 32, 560), name
    pixels = imread(tab.whole_picture(picture))[:, :, :3]
    paper = pixels[2, 2]
    assert (paper.max() < 0.2) if dark else (paper.min() > 0.95)
    assert 0.01 < (np.abs(pixels - paper).max(axis=2) > 0.3).mean() < 0.4
    inks = "[...document.querySelectorAll('.plot .xtick text')].map(t => getComputedStyle(t).fill)"
    assert set(tab.run(inks)) == {_INKS[dark]}
    return figures


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """Give a tab of a browser of its own.

    Args:
        folder: an empty one, where the browser keeps what it wants.
    """
    name = executable()
    assert name is not None
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        "--disable-dev-shm-usage --remote-debugging-port=0 --hide-scrollbars"
    )
    command = [name, *flags.split(), f"--user-data-dir={folder}", "about:blank"]
    with (folder.parent / "browser.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            page = Page(_address(folder, process))
            try:
                yield page
            finally:
                page.close()
                process.wait(_ANSWER_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(_ANSWER_S)


def _address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Return where the first tab listens; the browser writes its port to a file."""
    port = folder / "DevToolsActivePort"
    until = time.monotonic() + _START_S
    while not (port.is_file() and port.read_text().count("\n")):
        assert process.poll() is None, "the browser ended"
        assert time.monotonic() < until, "the browser does not start"
        time.sleep(0.1)
    address = f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        with opener.open(address, timeout=_ANSWER_S) as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        if tabs:
            return str(tabs[0]["webSocketDebuggerUrl"])
        assert time.monotonic() < until, "the browser opens no tab"
        time.sleep(0.1)
