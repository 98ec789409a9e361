"""What the adapters answer to who is refused, and what they hand on. The programs of the page are in test_documents."""

import asyncio
import importlib
import json
import sys
import unittest
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock
from wsgiref.util import setup_testing_defaults

import fastapi
import flask
from curfew_verify import Claims, VerifyError, asgi, wsgi
from curfew_verify import fastapi as for_fastapi
from curfew_verify import flask as for_flask
from curfew_verify._issuer import Document
from curfew_verify._knowledge import Stream
from django import conf
from django.http import HttpResponse
from django.test import RequestFactory
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from . import kit
from .vectors import heartbeat

INVALID = 'Bearer error="invalid_token"'


class Adapters(unittest.TestCase):
    def setUp(self) -> None:
        signer, self.clock = kit.Signer(), kit.Clock()
        self.verifier = kit.verifier(self.clock, when_stale="reject")
        self.verifier._keys.take(Document({"keys": [signer.jwk]}, ""))
        Stream(self.verifier._knowledge).take("heartbeat", heartbeat(0, kit.NOW))
        self.good = "Bearer " + signer.sign(kit.claims_of())
        self.narrow = "Bearer " + signer.sign(kit.claims_of(scope="profile"))

    def cases(self) -> list[tuple[list[str], int, str | None, str | None]]:
        """Authorization headers, and status, challenge and code of the answer."""
        missing = 'Bearer error="insufficient_scope", scope="orders profile"'
        return [
            ([self.good], 200, None, None),
            ([], 401, "Bearer", "token_required"),
            (["Basic Zm9v"], 401, "Bearer", "token_required"),
            (["Bearer x"], 401, INVALID, "invalid_token"),
            ([self.narrow], 403, missing, "insufficient_scope"),
            ([self.good, self.good], 400, 'Bearer error="invalid_request"', "invalid_request"),
        ]

    def problem(self, status: int, code: str, body: bytes) -> None:
        problem = json.loads(body)
        self.assertEqual((problem["type"], problem["status"], problem["code"]), ("about:blank", status, code))

    def asgi(self, headers: list[str], kind: str = "http", extensions: Any = None) -> tuple[list[dict[str, Any]], Any]:
        seen, sent = [], []

        async def app(scope: Any, _receive: Any, _send: Any) -> None:
            seen.append(scope)

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        scope = {
            "type": kind, "headers": [(b"authorization", h.encode()) for h in headers],
            "state": {"kept": 1}, "extensions": extensions,
        }  # fmt: skip
        asyncio.run(asgi.RequireToken(app, self.verifier, ["orders", "profile"])(scope, receive, send))
        self.assertNotIn("auth", scope["state"])
        return sent, seen[0] if seen else None

    def test_asgi(self) -> None:
        for headers, status, challenge, code in self.cases():
            sent, scope = self.asgi(headers)
            if code is None:
                self.assertEqual((scope["state"]["auth"].sub, scope["state"]["kept"], sent), (kit.USER, 1, []))
                continue
            got = dict(sent[0]["headers"])
            self.assertEqual((sent[0]["status"], got[b"www-authenticate"].decode()), (status, challenge))
            self.assertEqual((got[b"content-type"], got[b"cache-control"]), (b"application/problem+json", b"no-store"))
            self.problem(status, code, sent[1]["body"])
            sent, scope = self.asgi(headers, "websocket")
            self.assertEqual((sent, scope), ([{"type": "websocket.close", "code": 1008}], None))
            sent, _ = self.asgi(headers, "websocket", {"websocket.http.response": {}})
            self.assertEqual((sent[0]["type"], sent[0]["status"]), ("websocket.http.response.start", status))
        self.assertEqual(self.asgi([], "lifespan")[0], [])

    def test_wsgi(self) -> None:
        def app(environ: Any, start: Any) -> list[bytes]:
            start("200 OK", [])
            return [environ["curfew.auth"].sub.encode()]

        guarded = wsgi.RequireToken(app, self.verifier, ["orders", "profile"])
        for headers, status, challenge, code in self.cases():
            environ: dict[str, Any] = {}
            setup_testing_defaults(environ)
            if headers:
                environ["HTTP_AUTHORIZATION"] = ",".join(headers)
            if len(headers) > 1:  # a server has joined them
                status, challenge, code = 401, INVALID, "invalid_token"
            answers: list[Any] = []
            body = b"".join(guarded(environ, lambda *answer: answers.append(answer)))  # type: ignore[arg-type]
            self.assertEqual((int(answers[0][0][:3]), dict(answers[0][1]).get("WWW-Authenticate")), (status, challenge))
            if code is None:
                self.assertEqual(body, kit.USER.encode())
            else:
                self.problem(status, code, body)

    def test_flask(self) -> None:
        app = flask.Flask(__name__)

        @app.get("/")
        @for_flask.require_token(self.verifier, "orders", "profile")
        def orders() -> Any:
            return dict(flask.g.auth)

        @app.get("/async")
        @for_flask.require_token(self.verifier)
        async def orders_async() -> Any:
            return dict(flask.g.auth)

        for headers, status, challenge, code in self.cases():
            answer = app.test_client().get("/", headers=[("Authorization", h) for h in headers])
            if len(headers) > 1:
                status, challenge, code = 401, INVALID, "invalid_token"
            self.assertEqual((answer.status_code, answer.headers.get("WWW-Authenticate")), (status, challenge))
            if code is None:
                self.assertEqual(answer.json["sub"], kit.USER)
            else:
                self.assertEqual(answer.content_type, "application/problem+json")
                self.problem(status, code, answer.data)

    def test_fastapi(self) -> None:
        app = fastapi.FastAPI()

        required = for_fastapi.require_token(self.verifier, "orders", "profile")

        @app.get("/")
        async def orders(claims: Claims = fastapi.Depends(required)) -> Any:
            return claims

        client = TestClient(app)
        for headers, status, challenge, code in self.cases():
            if len(headers) > 1:  # the test client joins them
                dependency = for_fastapi.require_token(self.verifier)
                raw = [(b"authorization", header.encode()) for header in headers]
                with self.assertRaises(fastapi.HTTPException) as caught:
                    asyncio.run(dependency(HTTPConnection({"type": "http", "headers": raw})))
                self.assertEqual(
                    (caught.exception.status_code, caught.exception.headers["WWW-Authenticate"]), (status, challenge)
                )
                continue
            answer = client.get("/", headers=[("Authorization", h) for h in headers])
            self.assertEqual((answer.status_code, answer.headers.get("WWW-Authenticate")), (status, challenge))
            if code is None:
                self.assertEqual(answer.json()["sub"], kit.USER)
            else:
                self.assertEqual((answer.json(), answer.headers["Cache-Control"]), ({"detail": code}, "no-store"))
        shown = client.get("/openapi.json").json()
        self.assertEqual(
            shown["components"]["securitySchemes"],
            {"Curfew": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        )
        self.assertEqual(shown["paths"]["/"]["get"]["security"], [{"Curfew": []}])

    def test_django(self) -> None:
        """The middleware, before sync and async handlers; the decorator is in test_documents."""
        if not conf.settings.configured:
            conf.settings.configure(CURFEW_SCOPES=["orders", "profile"], DEFAULT_CHARSET="utf-8", ALLOWED_HOSTS=["*"])
        for_django = importlib.import_module("curfew_verify.django")

        def answer(request: Any) -> Any:
            return HttpResponse(request.auth.sub)

        async def answer_async(request: Any) -> Any:
            return HttpResponse(request.auth.sub)

        with mock.patch.object(for_django, "get_verifier", lambda: self.verifier):
            for headers, status, challenge, code in self.cases():
                if len(headers) > 1:  # a server has joined them
                    status, challenge, code = 401, INVALID, "invalid_token"
                request = RequestFactory().get("/", **({"HTTP_AUTHORIZATION": ",".join(headers)} if headers else {}))
                answers = [
                    for_django.RequireToken(answer)(request),
                    asyncio.run(for_django.RequireToken(answer_async)(request)),
                ]
                for got in answers:
                    self.assertEqual((got.status_code, got.headers.get("WWW-Authenticate")), (status, challenge))
                    if code is None:
                        self.assertEqual(got.content, kit.USER.encode())
                    else:
                        self.assertEqual(got.headers["Content-Type"], "application/problem+json")
                        self.problem(status, code, got.content)

    def test_stale(self) -> None:
        self.clock.go(31)
        sent, _ = self.asgi([self.good])
        got = dict(sent[0]["headers"])
        self.assertEqual((sent[0]["status"], got[b"retry-after"]), (503, b"2"))
        self.assertNotIn(b"www-authenticate", got)
        self.problem(503, "temporarily_unavailable", sent[1]["body"])

    def test_mcp(self) -> None:
        """Against the SDK's protocol; the SDK itself cannot be had here."""
        names = ("mcp", "mcp.server", "mcp.server.auth", "mcp.server.auth.provider")
        modules = {name: ModuleType(name) for name in names}
        modules[names[-1]].AccessToken = SimpleNamespace  # type: ignore[attr-defined]
        with mock.patch.dict(sys.modules, modules):
            verify = importlib.import_module("curfew_verify.mcp").token_verifier(self.verifier).verify_token
            token = self.good.removeprefix("Bearer ")
            access = asyncio.run(verify(token))
            self.assertEqual((access.token, access.client_id, access.scopes), (token, "web", ["orders", "profile"]))
            self.assertEqual(
                (access.expires_at, access.resource, access.subject), (kit.NOW + 300, kit.AUDIENCE, kit.USER)
            )
            self.assertIsNone(asyncio.run(verify("x")))
            self.clock.go(31)
            with self.assertRaises(VerifyError):
                asyncio.run(verify(token))
        with self.assertRaises(ImportError):
            importlib.import_module("curfew_verify.mcp").token_verifier(self.verifier)


if __name__ == "__main__":
    unittest.main()
