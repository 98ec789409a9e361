"""ASGI middleware, for Starlette, FastAPI, Quart, Django's ASGI and every other ASGI application.

    app = RequireToken(app, verifier, ["orders"])

Of the application's requests only those arrive whose access token is alive and carries every one of the scopes. Its
claims are in ``scope["state"]["auth"]``, in Starlette ``request.state.auth``.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from ._errors import VerifyError
from ._verifier import Verifier
from ._web import Refusal, authorize_async

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# RFC 6455 section 7.4.1: policy violation.
_POLICY_VIOLATION = 1008


class RequireToken:
    """Answers requests without a good token itself, RFC 6750 section 3; WebSockets before they are accepted."""

    def __init__(self, app: App, verifier: Verifier, scopes: Sequence[str] = ()) -> None:
        self.app, self.verifier, self.scopes = app, verifier, tuple(scopes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):  # lifespan
            await self.app(scope, receive, send)
            return
        values = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"authorization"]
        try:
            claims = await authorize_async(self.verifier, values, self.scopes)
        except VerifyError as error:
            await _refuse(error, scope, send)
            return
        await self.app({**scope, "state": {**scope.get("state", {}), "auth": claims}}, receive, send)


async def _refuse(error: VerifyError, scope: Scope, send: Send) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})  # which servers make 403 of
            return
    refusal = Refusal.of(error)
    headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    await send({"type": kind + ".start", "status": refusal.status, "headers": headers})
    await send({"type": kind + ".body", "body": refusal.body})
