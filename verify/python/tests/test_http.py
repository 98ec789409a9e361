"""Requests to servers that answer as they should not: each ends, in time, with what it should say."""

import contextlib
import gzip
import socket
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from unittest import mock

from curfew_verify._http import MAX_DOCUMENT, Deadline, Http, RequestError
from curfew_verify._issuer import Issuer


@contextlib.contextmanager
def serving(*answers: bytes | Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives one answer after the other, whatever it is asked, and keeps connections open."""
    listener, asked = socket.create_server(("127.0.0.1", 0)), []
    left, open_ = list(answers), []

    def serve(conn: socket.socket) -> None:
        with conn, contextlib.suppress(OSError):
            raw = b""
            while piece := conn.recv(65536):
                raw += piece
                if b"\r\n\r\n" in raw:
                    asked.append(raw)
                    raw = b""
                    answer = left.pop(0)
                    if callable(answer):
                        answer(conn)
                        return
                    conn.sendall(answer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = listener.accept()
                open_.append(conn)
                threading.Thread(target=serve, args=(conn,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for conn in open_:
            conn.close()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def drip(conn: socket.socket) -> None:
    """A byte now and then, so that no read of its own takes long."""
    conn.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        conn.sendall(b"X")
        time.sleep(0.02)


class Requests(unittest.TestCase):
    def setUp(self) -> None:
        patched = mock.patch.dict("os.environ", {"no_proxy": "*"})
        patched.start()
        self.addCleanup(patched.stop)
        self.http = Http()
        self.addCleanup(self.http.shut)

    def issuer(self, url: str, client_id: str = "api", secret: str = "s") -> Issuer:
        issuer = Issuer(url, client_id, secret)
        self.addCleanup(issuer.http.shut)
        return issuer

    def get(self, url: str, seconds: float = 10) -> bytes:
        with self.http.open("GET", url, {}, deadline=Deadline(seconds)) as exchange:
            return exchange.read()

    def test_a_connection_is_used_again(self) -> None:
        with serving(answer(b"1"), answer(b"2")) as (url, asked):
            self.assertEqual((self.get(url), self.get(url + "/x?y=z")), (b"1", b"2"))
            self.assertEqual(len(self.http._idle), 1)
        self.assertTrue(asked[1].startswith(b"GET /x?y=z HTTP/1.1\r\n"))
        self.assertIn(b"Accept-Encoding: identity\r\n", asked[0])

    def test_one_that_was_closed_meanwhile(self) -> None:
        def once(conn: socket.socket) -> None:
            conn.sendall(answer(b"1"))

        with serving(once, answer(b"2")) as (url, _):
            self.assertEqual((self.get(url), self.get(url)), (b"1", b"2"))

    def test_slow_bytes(self) -> None:
        with serving(drip) as (url, _), self.assertRaises(RequestError):
            self.get(url, 0.3)

    def test_nothing(self) -> None:
        with serving(lambda _: time.sleep(2)) as (url, _), self.assertRaises(RequestError):
            self.get(url, 0.2)

    def test_cut(self) -> None:
        def cut(conn: socket.socket) -> None:
            conn.sendall(answer(b"123")[:-1])

        with serving(cut) as (url, _), self.assertRaises(RequestError):
            self.get(url)

    def test_too_large(self) -> None:
        with serving(answer(b"x" * (MAX_DOCUMENT + 1))) as (url, _), self.assertRaises(RequestError):
            self.get(url)

    def test_compressed(self) -> None:
        with serving(answer(gzip.compress(b"1"), "Content-Encoding: gzip")) as (url, _), self.assertRaises(
            RequestError
        ):
            self.get(url)

    def test_redirect(self) -> None:
        with serving(answer(b"{}", "Location: https://elsewhere.example", status="302 Found")) as (url, asked):
            with self.assertRaises(RequestError):
                self.issuer(url).metadata()
            self.assertEqual(len(asked), 1)

    def test_shut(self) -> None:
        began, over = threading.Event(), threading.Event()
        self.addCleanup(over.set)

        def stay(conn: socket.socket) -> None:
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1")
            began.set()
            over.wait(300)

        with serving(stay) as (url, _):
            failed = []

            def read() -> None:
                try:
                    self.get(url, 300)
                except RequestError as err:
                    failed.append(err)

            thread = threading.Thread(target=read, daemon=True)
            thread.start()
            self.assertTrue(began.wait(60))
            time.sleep(0.05)
            self.http.shut()
            thread.join(60)
            self.assertFalse(thread.is_alive())
            self.assertEqual(len(failed), 1)
            with self.assertRaises(RequestError):
                self.get(url)

    def test_proxy(self) -> None:
        with serving(answer(b"1")) as (url, asked):
            proxy = url.replace("http://", "http://user:p%40ss@")
            with mock.patch.dict("os.environ", {"http_proxy": proxy, "no_proxy": ""}):
                self.assertEqual(self.get("http://id.example.com/x"), b"1")
            self.assertTrue(asked[0].startswith(b"GET http://id.example.com/x HTTP/1.1\r\n"))
            self.assertIn(b"Host: id.example.com\r\n", asked[0])
            self.assertIn(b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n", asked[0])

    def test_metadata(self) -> None:
        """What is not the issuer's own is not trusted with its secret."""
        names = (
            "token_endpoint",
            "introspection_endpoint",
            "jwks_uri",
            "revocation_feed_endpoint",
            "revocation_ack_endpoint",
        )
        for issuer, jwks in (("URL", "URL.evil.example/jwks"), ("https://other.example", "URL/jwks"), ("URL", "")):
            document = {"issuer": issuer, **{name: "URL/x" for name in names}, "jwks_uri": jwks}

            def reply(conn: socket.socket, document: dict[str, str] = document) -> None:
                url = "http://127.0.0.1:%d" % conn.getsockname()[1]
                members = ",".join(f'"{name}":"{value.replace("URL", url)}"' for name, value in document.items())
                conn.sendall(answer(("{" + members + "}").encode()))

            with serving(reply) as (url, asked), self.assertRaises(RequestError):
                self.issuer(url).metadata()
            self.assertTrue(asked[0].startswith(b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\n"))
            self.assertNotIn(b"Authorization", asked[0])

    def test_no_secret_in_errors(self) -> None:
        with serving(answer(b'{"error":"invalid_client"}', status="401 Unauthorized")) as (url, asked):
            with self.assertRaises(RequestError) as caught:
                self.issuer(url, "a b", "s:e/cret")._form(url + "/token", {"token": "t0ken"})
            self.assertIn(b"Authorization: Basic YStiOnMlM0FlJTJGY3JldA==\r\n", asked[0])
            self.assertIn("401 invalid_client", str(caught.exception))
            self.assertNotIn("cret", str(caught.exception))
            self.assertNotIn("t0ken", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
