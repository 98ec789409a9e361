"""A dependency for FastAPI.

    @app.get("/orders")
    async def orders(claims: Claims = Depends(require_token(verifier, "orders"))):
        return {"user": claims.sub}
"""

# FastAPI reads the annotations of __call__ when the application starts: no "from __future__ import annotations" here.
from fastapi import HTTPException, WebSocketException
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from ._errors import VerifyError
from ._token import Claims
from ._verifier import Verifier
from ._web import Refusal, authorize_async

_POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1


class RequireToken(SecurityBase):
    """The dependency, which OpenAPI shows as a bearer token."""

    def __init__(self, verifier: Verifier, scopes: tuple[str, ...]) -> None:
        self.verifier, self.scopes = verifier, scopes
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "Curfew"

    async def __call__(self, connection: HTTPConnection) -> Claims:
        try:
            return await authorize_async(self.verifier, connection.headers.getlist("authorization"), self.scopes)
        except VerifyError as error:
            refusal = Refusal.of(error)
            if connection.scope["type"] == "websocket":
                raise WebSocketException(_POLICY_VIOLATION, refusal.code) from None
            # The body is FastAPI's, with the problem's code as its detail.
            headers = {name: value for name, value in refusal.headers.items() if not name.startswith("Content-")}
            raise HTTPException(refusal.status, refusal.code, headers) from None


def require_token(verifier: Verifier, *scopes: str) -> RequireToken:
    """A dependency that gives the claims of an access token that is alive and carries every one of the scopes.

    It answers the others itself, RFC 6750 section 3. It serves WebSocket routes too.
    """
    return RequireToken(verifier, scopes)
