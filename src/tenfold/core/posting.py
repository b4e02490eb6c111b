"""POST to a server that may be busy: what may pass by itself is told apart, and tried again after a wait that doubles.

The standard library does it. Who calls says what a refusal of the server means, and in which error it ends.
:class:`Connections` opens requests that can be broken off, so that a server stops working on what nobody waits for.
"""

import http.client
import math
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

CHUNK_BYTES = 2**16


class Passing(Exception):
    """What may not happen again at the next try.

    Args:
        message: what happened, in a few words.
        wait: seconds that the server asks for before the next try.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def may_pass(status: int) -> bool:
    """Whether a status of HTTP says that a later request may succeed.

    Example:
        >>> may_pass(429), may_pass(503), may_pass(404)
        (True, True, False)
    """
    return status == 429 or status >= 500


class Connections:
    """Opens requests whose connections can be broken off from another thread; follows no redirection.

    (A redirection would take the key along to another host.)

    Example:
        >>> connections = Connections()
        >>> connections.break_off()
        >>> connections.opener.open("http://127.0.0.1:9/")
        Traceback (most recent call last):
        urllib.error.URLError: <urlopen error broken off>
    """

    def __init__(self) -> None:
        self.opener = urllib.request.build_opener(_Kept(self), _KeptSecure(self), _SameHost)
        self._open: WeakSet[http.client.HTTPConnection] = WeakSet()
        self._lock = threading.Lock()
        self._broken_off = False

    def break_off(self) -> None:
        """End all requests under way, and refuse further ones."""
        with self._lock:
            self._broken_off = True
            for connection in list(self._open):
                _shut_down(connection)

    def kept(self, kind: type[http.client.HTTPConnection]) -> Callable[..., http.client.HTTPConnection]:
        """Makes connections of a kind that this object knows of."""
        keep = self._keep

        class KeptConnection(kind):  # type: ignore[valid-type, misc]
            def connect(self) -> None:
                keep(self)
                super().connect()
                keep(self)  # it may have been broken off meanwhile

        return KeptConnection

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._open.add(connection)
            if self._broken_off:
                connection.close()
                raise ConnectionAbortedError("broken off")


class _Kept(urllib.request.HTTPHandler):
    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connection = connections.kept(http.client.HTTPConnection)

    def http_open(self, request: Any) -> Any:
        return self.do_open(self._connection, request)


class _KeptSecure(urllib.request.HTTPSHandler):
    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connection = connections.kept(http.client.HTTPSConnection)

    def https_open(self, request: Any) -> Any:
        return self.do_open(self._connection, request)


class _SameHost(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any, **named: Any) -> None:
        return None


def _shut_down(connection: http.client.HTTPConnection) -> None:
    """Wake the thread that reads from a connection: it finds the end of it."""
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended by itself
            return


def post(
    url: str,
    body: bytes | None,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    opener: urllib.request.OpenerDirector | None = None,
) -> bytes:
    """Post JSON and read the answer.

    Args:
        url: where to.
        body: the JSON; ``None`` asks without one, by GET.
        seconds: until a try is given up: for the connection, for each silence, and for the answer as a whole.
        headers: further ones.
        opener: opens the request; by default urllib's own.

    Raises:
        Passing: there is no connection, or no whole answer in time.
        urllib.error.HTTPError: the server refuses; it holds the connection, which the caller closes.
    """
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    open_request = urllib.request.urlopen if opener is None else opener.open
    try:
        with open_request(request, timeout=seconds) as response:
            return _read(response, seconds)
    except urllib.error.HTTPError:
        raise
    except TimeoutError:
        raise Passing(f"no answer within {seconds:g} s") from None
    except (OSError, http.client.HTTPException) as error:  # URLError among them
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise Passing(f"no answer within {seconds:g} s") from None
        raise Passing(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__) from None


def tried_again(
    attempt: Callable[[], bytes],
    *,
    retries: int,
    wait_seconds: float,
    longest_wait: float = math.inf,
    before_wait: Callable[[], None] = lambda: None,
) -> bytes:
    """What an attempt gives, with further ones while it fails in a way that may pass.

    Args:
        attempt: makes one request.
        retries: how often it is tried again after the first time.
        wait_seconds: before the first retry; doubled for each further one, and longer where a server asks for it.
        longest_wait: seconds that no wait exceeds.
        before_wait: called when an attempt has failed and another will follow.

    Raises:
        Passing: the last attempt has failed, too; the message says how many there were.

    Example:
        >>> tried_again(lambda: b"{}", retries=2, wait_seconds=0.5)
        b'{}'
    """
    for number in range(retries + 1):
        try:
            return attempt()
        except Passing as error:
            if number == retries:
                tries = f" (tried {number + 1} times)" if number else ""
                raise Passing(f"{error}{tries}") from None
            before_wait()
            time.sleep(min(max(error.wait, wait_seconds * 2**number), longest_wait))
    raise AssertionError("the loop returns or raises")


def _read(response: http.client.HTTPResponse, seconds: float) -> bytes:
    """The body, within the seconds of a try: a server that trickles is given up as one that is silent."""
    deadline = time.monotonic() + seconds
    body = bytearray()
    while part := response.read1(CHUNK_BYTES):
        body += part
        if time.monotonic() > deadline:
            raise TimeoutError
    promised = response.headers["Content-Length"]
    if promised is not None and len(body) < int(promised):
        raise http.client.IncompleteRead(bytes(body), int(promised) - len(body))
    return bytes(body)
