"""A real ``curfew serve`` on SQLite, behind a small proxy that cuts, delays and compresses."""

import contextlib
import gzip
import http.client
import json
import os
import queue
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
PASSWORD = "correct horse battery staple"
FEED = "/oauth2/revocations"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def until(what: Callable[[], Any], why: str, seconds: float = 60) -> None:
    """Waits until something is so; how long it takes is not judged."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"in {seconds} s it did not come to be: {why}")
        time.sleep(0.005)


class Proxy(ThreadingHTTPServer):
    """Stands before the server, with the issuer's address. Compresses for who asks for it, as careless proxies do."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.backend = ("127.0.0.1", 0)
        self.down: set[str] = set()  # paths that get no answer
        self.delays: dict[str, float] = {}  # how long an answer's pieces are held up, by path
        self.before: Callable[[str], Any] = lambda path: None  # is called before an answer is given
        self.compressed: list[str] = []  # paths
        self.asked: list[str] = []  # paths
        self.bare = 0  # streams without a token
        self.streams: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def cut(self) -> None:
        """Ends every stream without a word."""
        for sock in list(self.streams):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: Any) -> None:  # somebody went away
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: Any) -> None:
        pass

    def _forward(self) -> None:
        path, proxy = urllib.parse.urlsplit(self.path).path, self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy.asked.append(path)
        if path in proxy.down:
            self.close_connection = True
            return
        backend = http.client.HTTPConnection(*proxy.backend, timeout=40)
        with contextlib.closing(backend):
            backend.request(
                self.command, self.path, body, {**self.headers, "Host": urllib.parse.urlsplit(proxy.url).netloc}
            )
            answer = backend.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                proxy.compressed.append(path)
                self._whole(path, gzip.compress(answer.read()), "gzip")
            elif answer.headers.get_content_type() == "text/event-stream":
                self._stream(path, answer)
            else:
                self._whole(path, answer.read(), None)

    do_GET = do_POST = do_DELETE = _forward

    def _whole(self, path: str, body: bytes, encoding: str | None) -> None:
        self.server.before(path)
        time.sleep(self.server.delays.get(path, 0))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, path: str, answer: http.client.HTTPResponse) -> None:
        """In chunks, each at its time and none held up by the one before it."""
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces: queue.Queue[tuple[float, bytes]] = queue.Queue()

        def read() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException, AttributeError):
                while piece := answer.read1(4096):
                    pieces.put((time.monotonic() + self.server.delays.get(path, 0), piece))
            pieces.put((0, b""))

        threading.Thread(target=read, daemon=True).start()
        self.server.streams.add(self.connection)
        try:
            while True:
                at, piece = pieces.get()
                time.sleep(max(0, at - time.monotonic()))
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if not piece:
                    break
        finally:
            self.server.streams.discard(self.connection)


class Server:
    """The program as its users run it: made by command line, asked over HTTP."""

    def __init__(self, *env: str, direct: bool = False) -> None:
        """direct: it is its own issuer, the proxy stands beside it."""
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.binary = os.environ.get("CURFEW_BINARY") or str(folder / "curfew")
        if "CURFEW_BINARY" not in os.environ:
            subprocess.run(["go", "build", "-o", self.binary, "./cmd/curfew"], cwd=REPOSITORY, check=True)
        self.proxy = Proxy()
        address = "127.0.0.1:0"
        if direct:
            with socket.create_server(("127.0.0.1", 0)) as free:
                address = f"127.0.0.1:{free.getsockname()[1]}"
        self.issuer = "http://" + address if direct else self.proxy.url
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CURFEW_DATABASE_URL": f"sqlite:{folder / 'curfew.db'}",
            "CURFEW_SECRET": "00112233445566778899aabbccddeeff" * 2,
            "CURFEW_ISSUER": self.issuer,
            "CURFEW_PUBLIC_ADDR": address,
            "CURFEW_ADMIN_ADDR": "127.0.0.1:0",
            "CURFEW_HASH_MEMORY": "64",
            "CURFEW_HASH_TIME": "1",
            **dict(one.split("=", 1) for one in env),
        }
        self.run("migrate")
        self.run("user", "add", "alice", "--password-stdin", stdin=PASSWORD + "\n")
        self.run(
            "client",
            "add",
            "web",
            "--public",
            "--grants",
            "password,refresh_token",
            "--scopes",
            "orders profile settings openid",
        )
        self.secret: str = self.json(
            "client", "add", "api", "--grants", "client_credentials", "--scopes", "revocations", "--introspect"
        )["client_secret"]
        self.start()

    @property
    def settings(self) -> dict[str, Any]:
        """What create_verifier takes."""
        return {"issuer": self.issuer, "client_id": "api", "client_secret": self.secret}

    def start(self) -> None:
        self._process = subprocess.Popen([self.binary, "serve"], env=self.env, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        lines = iter(self._process.stderr)
        for line in lines:
            said = json.loads(line)
            if said["msg"] == "listening" and said["listener"] == "public":
                host, _, port = said["addr"].rpartition(":")
                self.proxy.backend = (host, int(port))
            if said["msg"] == "ready":
                break
        else:
            raise AssertionError("curfew serve did not start")
        self._reader = threading.Thread(target=lambda: [None for _ in lines], daemon=True)
        self._reader.start()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self.proxy.cut()

    def close(self) -> None:
        self.stop()
        self.proxy.shutdown()
        self.proxy.server_close()
        self._folder.cleanup()

    def run(self, *args: str, stdin: str = "") -> str:
        return subprocess.run(
            [self.binary, *args], env=self.env, input=stdin, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def json(self, *args: str) -> Any:
        return json.loads(self.run(*args, "--json"))

    def sign_in(self, scope: str = "orders profile settings") -> dict[str, Any]:
        form = {"grant_type": "password", "client_id": "web", "username": "alice", "password": PASSWORD, "scope": scope}
        with DIRECT.open(self.proxy.url + "/oauth2/token", urllib.parse.urlencode(form).encode(), timeout=30) as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    def revoke(self, *what: str, wait: str = "10s") -> dict[str, Any]:
        """Signs out, and gives the receipt: how many servers there are, and how many have applied it."""
        return self.json("revoke", *what, "--wait", wait).get("applied")  # type: ignore[no-any-return]
