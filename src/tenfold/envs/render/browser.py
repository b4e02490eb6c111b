"""Draws web pages in the system's Chromium, in a bubblewrap of its own: no network, no scripts, no files of ours.

One browser is kept warm; each page gets a context of its own, which is thrown away. The browser is spoken to by its
DevTools protocol over a pair of pipes, so that there is no port to connect to and nothing to install but Chromium. The
code sandbox would not do: it allows one process, and a browser has many.

A page that keeps the browser busy beyond the limit costs the browser: it is killed with all its processes, and the next
page starts another one.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tenfold.core.errors import UserError
from tenfold.envs.render.literals import why_page_refused
from tenfold.envs.render.png import pixels_of
from tenfold.envs.render.renderer import RenderResult

PLACES = (
    "/usr/lib/chromium/chromium",
    "/usr/lib64/chromium-browser/chromium-browser",
    "/usr/lib/chromium-browser/chrome",
)
"""Where distributions put the browser itself, behind the script that is called ``chromium``."""
FLAGS = (
    "--headless",
    "--no-sandbox",  # bubblewrap is around all of it; the browser's own sandbox needs rights that are taken away
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--font-render-hinting=none",
    "--disable-extensions",
    "--no-first-run",
    "--user-data-dir=/tmp/profile",
    "--remote-debugging-pipe",
)
START_SECONDS = 60.0
_COMMANDS, _ANSWERS = 3, 4  # the descriptors that Chromium expects


class BrowserRenderer:
    """Draws HTML with its styles; scripts do not run. Pages are drawn one after the other; safe to use from threads.

    Args:
        width: pixels of the window.
        height: pixels of the window; what is below it is not drawn.
        seconds: most that a page may take.
        browser: the browser's program; by default where distributions put Chromium.

    Raises:
        UserError: bubblewrap or Chromium is missing, or a size is out of range.
    """

    def __init__(self, width: int = 400, height: int = 300, *, seconds: float = 10.0, browser: str = "") -> None:
        for name, value in (("width", width), ("height", height)):
            if not 8 <= value <= 2000:
                raise UserError(f"{name} = {value}: allowed: 8 to 2000")
        if shutil.which("bwrap") is None:
            raise UserError("drawing pages needs bubblewrap: install the Debian package bubblewrap")
        found = [browser] if browser else [place for place in PLACES if Path(place).is_file()]
        if not found or not Path(found[0]).is_file():
            raise UserError("drawing pages needs Chromium: install the Debian package chromium")
        self.width, self.height, self.seconds = width, height, seconds
        self._program = found[0]
        self._lock = threading.Lock()
        self._browser: _Browser | None = None

    def render(self, code: str) -> RenderResult:
        """What the window shows of a page."""
        started = time.monotonic()
        if refused := why_page_refused(code):
            return RenderResult(None, refused)
        with self._lock:
            try:
                if self._browser is None:
                    self._browser = _Browser(self._program)
                content = self._browser.picture(code, self.width, self.height, time.monotonic() + self.seconds)
            except TimeoutError:
                self._drop()
                return RenderResult(None, "TimeoutError: the page took too long", time.monotonic() - started)
            except (OSError, _Refused) as error:
                self._drop()
                return RenderResult(None, f"BrowserError: {error}", time.monotonic() - started)
        image = pixels_of(content)
        if isinstance(image, str):
            return RenderResult(None, image, time.monotonic() - started)
        return RenderResult(image, "", time.monotonic() - started)

    def _drop(self) -> None:
        if self._browser is not None:
            self._browser.close()
            self._browser = None

    def close(self) -> None:
        """End the browser."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Refused(Exception):
    """The browser answered with an error."""


class _Browser:
    """One running Chromium, and the pipes to it."""

    def __init__(self, program: str) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self._process = _spawned(_in_bubblewrap(program), commands, answers)
        self._number, self._unread = 0, b""
        try:
            self._ask("Browser.getVersion", {}, time.monotonic() + START_SECONDS)
        except BaseException:
            self.close()
            raise

    def picture(self, code: str, width: int, height: int, deadline: float) -> bytes:
        """The window's PNG; raises ``TimeoutError`` past the deadline."""
        context = self._ask("Target.createBrowserContext", {}, deadline)["browserContextId"]
        window = {"url": "about:blank", "width": width, "height": height, "browserContextId": context}
        target = self._ask("Target.createTarget", window, deadline)["targetId"]
        session = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True}, deadline)["sessionId"]

        def ask(method: str, **arguments: Any) -> Any:
            return self._ask(method, arguments, deadline, session)

        ask("Emulation.setScriptExecutionDisabled", value=True)
        ask("Network.enable")
        ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        frame = ask("Page.getFrameTree")["frameTree"]["frame"]["id"]
        ask("Page.setDocumentContent", frameId=frame, html=code)
        shot = ask("Page.captureScreenshot", format="png")
        self._ask("Target.disposeBrowserContext", {"browserContextId": context}, deadline)
        return base64.b64decode(shot["data"])

    def _ask(self, method: str, arguments: dict[str, Any], deadline: float, session: str = "") -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": arguments}
        if session:
            message["sessionId"] = session
        self._write(json.dumps(message).encode() + b"\0", deadline)
        while True:
            answer = json.loads(self._read(deadline))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise _Refused(f"{method}: {answer['error'].get('message', '')}")
                return answer["result"]

    def _write(self, message: bytes, deadline: float) -> None:
        os.set_blocking(self._commands, False)
        while message:
            _, ready, _ = select.select([], [self._commands], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            message = message[os.write(self._commands, message) :]

    def _read(self, deadline: float) -> bytes:
        """The next message, which ends with a zero byte."""
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise OSError("the browser ended")
            self._unread += part
        message, _, self._unread = self._unread.partition(b"\0")
        return message

    def close(self) -> None:
        """Kill bubblewrap, and with its namespace every process of the browser."""
        for descriptor in (self._commands, self._answers):
            with suppress(OSError):
                os.close(descriptor)
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


def _spawned(command: list[str], commands: int, answers: int) -> int:
    """Start a program with two pipes where Chromium expects them; both ends are closed here. Its process."""
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 64) for each in (commands, answers)]  # none may lie at 3 or 4
    os.close(commands)
    os.close(answers)
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    moved = [(os.POSIX_SPAWN_DUP2, high[0], _COMMANDS), (os.POSIX_SPAWN_DUP2, high[1], _ANSWERS)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
    try:
        return os.posix_spawn(command[0], command, environment, file_actions=[*nothing, *moved], setsid=True)
    finally:
        for each in high:
            os.close(each)


def _in_bubblewrap(program: str) -> list[str]:
    """The command line: libraries and fonts to read, folders in memory to write, and nothing else."""
    bubblewrap = shutil.which("bwrap")
    assert bubblewrap is not None
    words = [bubblewrap, "--unshare-user", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--hostname", "browser", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
    words += ["--size", str(256 << 20), "--tmpfs", "/tmp"]
    for path in ("/bin", "/lib", "/lib32", "/lib64", "/sbin"):
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            words += ["--ro-bind", path, path]
    for path in ("/etc/fonts", "/etc/ld.so.cache", "/etc/alternatives"):
        words += ["--ro-bind-try", path, path]
    return [*words, "--", program, *FLAGS]
