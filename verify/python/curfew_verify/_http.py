"""HTTP/1.1 requests with a limit for all of a request's time and for all that is read."""

import base64
import contextlib
import encodings.idna  # noqa: F401, see _keys
import http.client
import io
import os
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

REQUEST_TIMEOUT: Final = 10.0
MAX_DOCUMENT: Final = 1 << 20


class RequestError(Exception):
    """A request that got no answer, or one that says nothing. The text holds no secret."""


class Closed(RequestError):
    """The verifier was closed."""


class Deadline:
    """Until when all that is read has to be there. It may be moved on while it is read."""

    def __init__(self, seconds: float) -> None:
        self.set(seconds)

    def set(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        return left


class _Raw(io.RawIOBase):
    """What is read of a socket. A socket's own time-out begins anew with every byte; this one does not."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline
        self._raw = sock.makefile("rb", buffering=0)  # which keeps the socket open as long as this

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._deadline.left())
        return self._raw.readinto(buffer) or 0

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """As much of a socket as http.client's answers take."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self._sock, self._deadline))


class Exchange:
    """One request and its answer. ``with`` closes the connection, or gives it back if all was read."""

    def __init__(self, http_: "Http", conn: http.client.HTTPConnection, key: str, deadline: Deadline) -> None:
        self._http, self._conn, self._key, self.deadline = http_, conn, key, deadline
        self.sock: socket.socket | None = None
        self.answer: http.client.HTTPResponse

    def send(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        conn, deadline = self._conn, self.deadline
        conn.timeout = deadline.left()
        if conn.sock is None:
            conn.connect()
        sock: socket.socket = conn.sock  # type: ignore[assignment]
        self.sock = sock
        self._http.register(self)
        sock.settimeout(deadline.left())
        conn.response_class = lambda sock, *args, **kw: http.client.HTTPResponse(  # type: ignore[assignment]
            _Socket(sock, deadline), *args, **kw  # type: ignore[arg-type]
        )
        conn.request(method, target, body, dict(headers))
        self.answer = conn.getresponse()

    def read(self) -> bytes:
        """The whole body, which may not be large."""
        try:
            body = self.answer.read(MAX_DOCUMENT + 1)
        except (http.client.HTTPException, OSError) as err:
            raise RequestError(f"the answer broke off: {err}") from err
        if len(body) > MAX_DOCUMENT:
            raise RequestError("the answer is too large")
        if self.answer.length:  # what is missing of it; read(n) says nothing of that
            raise RequestError("the answer broke off")
        return body

    def shut(self) -> None:
        """Ends it from another thread: who reads gets the end of the stream, or an error."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.unregister(self)
        answer = getattr(self, "answer", None)
        if answer is not None and answer.isclosed() and self._conn.sock is not None:
            self._http.keep(self._key, self._conn)
            return
        if answer is not None:
            answer.close()
        self._conn.close()


class Http:
    """Sends requests, through the proxy that the environment names (``https_proxy``, ``no_proxy``, …)."""

    def __init__(self) -> None:
        self._tls: ssl.SSLContext | None = None
        self.closed = False
        self._lock = threading.Lock()
        self._open: set[Exchange] = set()
        self._idle: dict[str, http.client.HTTPConnection] = {}

    def after_fork(self) -> None:
        """The parent's connections are closed here, without a word to the other side: they are still the parent's."""
        self._lock = threading.Lock()
        for sock in [exchange.sock for exchange in self._open] + [conn.sock for conn in self._idle.values()]:
            if sock is not None and (fd := sock.detach()) >= 0:
                os.close(fd)
        self._open, self._idle = set(), {}

    def register(self, exchange: Exchange) -> None:
        with self._lock:
            if self.closed:
                raise Closed("the verifier is closed")
            self._open.add(exchange)

    def unregister(self, exchange: Exchange) -> None:
        with self._lock:
            self._open.discard(exchange)

    def keep(self, key: str, conn: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self.closed and key not in self._idle:
                self._idle[key] = conn
                return
        conn.close()

    def shut(self) -> None:
        """Ends every request that is under way, and allows no others."""
        with self._lock:
            self.closed = True
            exchanges, idle = list(self._open), list(self._idle.values())
            self._idle.clear()
        for exchange in exchanges:
            exchange.shut()
        for conn in idle:
            conn.close()

    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline: Deadline | None = None,
    ) -> Exchange:
        """Sends a request and reads the head of the answer. Redirects are not followed: an issuer does not redirect."""
        deadline = deadline or Deadline(REQUEST_TIMEOUT)
        headers = {"Accept-Encoding": "identity", "User-Agent": "curfew-verify", **headers}
        parts = urllib.parse.urlsplit(url)
        key = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            if self.closed:
                raise Closed("the verifier is closed")
            conn = self._idle.pop(key, None)
        if conn is not None:
            # The other side may have closed it meanwhile. All that is sent may be sent twice.
            try:
                return self._exchange(conn, key, url, method, headers, body, deadline)
            except (http.client.HTTPException, OSError):
                pass
        try:
            return self._exchange(self._connection(parts), key, url, method, headers, body, deadline)
        except (http.client.HTTPException, OSError, ValueError) as err:
            raise RequestError(f"{url}: {type(err).__name__}: {err}") from err

    def _exchange(
        self,
        conn: http.client.HTTPConnection,
        key: str,
        url: str,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
    ) -> Exchange:
        parts = urllib.parse.urlsplit(url)
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        proxy: Mapping[str, str] | None = getattr(conn, "curfew_proxy", None)
        if proxy is not None:
            target, headers = url, {**headers, **proxy}
        exchange = Exchange(self, conn, key, deadline)
        try:
            exchange.send(method, target, body, headers)
            encoding = exchange.answer.headers.get("Content-Encoding", "identity")
            if encoding.lower() != "identity":
                raise RequestError(f"{url}: it is compressed ({encoding}), which was not asked for")
        except BaseException:
            exchange.__exit__()
            raise
        return exchange

    def _connection(self, to: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        if not to.hostname:
            raise ValueError("an address without a host")
        named = None if urllib.request.proxy_bypass(to.hostname) else urllib.request.getproxies().get(to.scheme)
        proxy = urllib.parse.urlsplit(named if "://" in named else "http://" + named) if named else None
        at = proxy or to
        credentials = {}
        if proxy is not None and proxy.username is not None:
            user = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
            credentials["Proxy-Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        host = at.hostname or ""
        if to.scheme == "https":
            self._tls = self._tls or ssl.create_default_context()
            conn = http.client.HTTPSConnection(host, at.port, context=self._tls)
            if proxy is not None:
                conn.set_tunnel(to.hostname, to.port or 443, credentials)
            return conn
        plain = http.client.HTTPConnection(host, at.port)
        if proxy is not None:
            plain.curfew_proxy = credentials  # type: ignore[attr-defined]
        return plain
