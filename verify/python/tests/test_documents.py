"""Every program in docs/resource-servers-python.md, run as it stands there, against a real server."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import ModuleType
from unittest import mock

import jwt
from curfew_verify import VerifyError
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from .server import REPOSITORY, Server, until

PAGE = REPOSITORY / "docs" / "resource-servers-python.md"
HERE = Path(__file__).resolve().parents[1]


def programs() -> dict[str, str]:
    """The programs on the page, by their names."""
    found = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return dict(found)


class Guest:
    """A program from the page, served by a real web server."""

    def __init__(self, server: Server, name: str, *command: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        (Path(self._folder.name) / name).write_text(
            programs()[name].replace("https://id.example.com", server.proxy.url)
        )
        self._log = open(os.path.join(self._folder.name, "log"), "wb")  # noqa: SIM115, closed with the process
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        env = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CLIENT_SECRET": server.secret,
            "DJANGO_SECRET_KEY": "not secret in a test",
            "no_proxy": "*",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", *(one.format(fd=listener.fileno()) for one in command)],
            cwd=self._folder.name,
            env=env,
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )
        listener.close()

    def get(self, path: str, token: str | None = None) -> tuple[int, str | None, bytes]:
        """Status, challenge and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={} if token is None else {"Authorization": "Bearer " + token})
            answer = connection.getresponse()
            return answer.status, answer.headers.get("WWW-Authenticate"), answer.read()

    def log(self) -> str:
        return (Path(self._folder.name) / "log").read_text()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
        self._folder.cleanup()


class Served(unittest.TestCase):
    def check(self, name: str, *command: str, paths: tuple[str, ...] = ("/orders",), processes: int = 1) -> None:
        server = Server()
        self.addCleanup(server.close)
        guest = Guest(server, name, *command)
        self.addCleanup(guest.close)
        try:
            for path in paths:
                self.ask(server, guest, path, processes)
        except BaseException:
            print(guest.log(), file=sys.stderr)
            raise

    def ask(self, server: Server, guest: Guest, path: str, processes: int) -> None:
        self.assertEqual(guest.get(path)[:2], (401, "Bearer"))
        self.assertEqual(guest.get(path, "e30.e30.e30")[:2], (401, 'Bearer error="invalid_token"'))
        # What is not known yet, while the program starts, is asked for; the issuer's keys have to be there.
        narrow = server.sign_in("profile")["access_token"]
        self.assertEqual(guest.get(path, narrow)[:2], (403, 'Bearer error="insufficient_scope", scope="orders"'))
        tokens = server.sign_in()
        status, challenge, body = guest.get(path, tokens["access_token"])
        self.assertEqual((status, challenge), (200, None))
        self.assertTrue(json.loads(body)["user"])
        until(lambda: server.revoke("device", server.sign_in()["device_id"])["acknowledged"] > 0, "it follows the feed")
        for _ in range(4 * processes):  # so that each process has had one
            guest.get(path, tokens["access_token"])
        receipt = server.revoke("device", tokens["device_id"])
        self.assertGreaterEqual(receipt["subscribers"], 1)
        self.assertEqual(receipt["acknowledged"], receipt["subscribers"], receipt)
        for _ in range(4 * processes):
            self.assertEqual(guest.get(path, tokens["access_token"])[:2], (401, 'Bearer error="invalid_token"'))

    def test_fastapi(self) -> None:
        self.check("orders_fastapi.py", "uvicorn", "--fd", "{fd}", "orders_fastapi:app")

    def test_asgi(self) -> None:
        self.check("orders_asgi.py", "uvicorn", "--fd", "{fd}", "orders_asgi:app")

    def test_flask(self) -> None:
        self.check("orders_flask.py", "gunicorn", "--bind", "fd://{fd}", "orders_flask:app")

    def test_flask_forked(self) -> None:
        """The verifier is made by the parent, and used by its children."""
        self.check(
            "orders_flask.py",
            "gunicorn",
            "--preload",
            "-w",
            "3",
            "--bind",
            "fd://{fd}",
            "orders_flask:app",
            processes=3,
        )

    def test_wsgi(self) -> None:
        self.check("orders_wsgi.py", "gunicorn", "--bind", "fd://{fd}", "orders_wsgi:app")

    def test_django(self) -> None:
        paths = ("/orders", "/orders/async")
        self.check("orders_django.py", "gunicorn", "--bind", "fd://{fd}", "orders_django:application", paths=paths)


class Inside(unittest.TestCase):
    def load(self, name: str) -> ModuleType:
        self.server = Server()
        self.addCleanup(self.server.close)
        source = programs()[name].replace("https://id.example.com", self.server.proxy.url)
        module = ModuleType(name.removesuffix(".py"))
        with mock.patch.dict(os.environ, {"CLIENT_SECRET": self.server.secret, "no_proxy": "*"}):
            exec(compile(source, name, "exec"), module.__dict__)
        self.addCleanup(module.verifier.close)
        until(lambda: module.verifier.staleness() < 60, "the first heartbeat")
        return module

    def test_own_jwt_code(self) -> None:
        module = self.load("orders_own.py")
        tokens = self.server.sign_in()
        token = tokens["access_token"]
        with mock.patch.dict(os.environ, {"no_proxy": "*"}):
            self.assertEqual(module.claims_of(token)["device_id"], tokens["device_id"])
            with self.assertRaises(jwt.PyJWTError):
                module.claims_of(token[:-8] + "AAAAAAAA")
            self.server.revoke("device", tokens["device_id"])
            with self.assertRaises(VerifyError) as caught:
                module.claims_of(token)
        self.assertEqual(caught.exception.code, "revoked")

    def test_socket(self) -> None:
        module = self.load("orders_socket.py")
        tokens = self.server.sign_in()
        client = TestClient(module.app)
        headers = {"Authorization": "Bearer " + tokens["access_token"]}
        with client.websocket_connect("/orders", headers=headers) as opened:
            self.assertTrue(opened.receive_json()["user"])
            self.server.revoke("device", self.server.sign_in()["device_id"])  # another one's
            self.server.revoke("device", tokens["device_id"])
            with self.assertRaises(WebSocketDisconnect) as closed:
                opened.receive_json()
        self.assertEqual(closed.exception.code, 1008)
        self.assertEqual(module.verifier._knowledge.on_revocation, ())
        for refused in (headers, {}):
            with self.assertRaises(WebSocketDisconnect) as closed, client.websocket_connect("/orders", headers=refused):
                pass
            self.assertEqual(closed.exception.code, 1008)

    def test_all_programs_are_run(self) -> None:
        text = Path(__file__).read_text()
        self.assertEqual(len(programs()), PAGE.read_text().count("```python"))
        for name in programs():
            self.assertIn(f'"{name}"', text)


if __name__ == "__main__":
    unittest.main()
