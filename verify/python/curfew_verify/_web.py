"""What the adapters share: a request's token (RFC 6750 section 2.1), and the answer to who is refused (section 3)."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from ._errors import Code, VerifyError
from ._token import Claims
from ._verifier import Verifier

_PUBLIC: Final[dict[Code, str]] = {
    "no_token": "token_required",
    "request": "invalid_request",
    "scope": "insufficient_scope",
    "stale": "temporarily_unavailable",
    "unavailable": "temporarily_unavailable",
}


def bearer(authorization: Sequence[str]) -> str:
    """The token in a request's Authorization headers, the one place where it is looked for."""
    if len(authorization) > 1:
        raise VerifyError("request")
    scheme, _, token = authorization[0].partition(" ") if authorization else ("", "", "")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise VerifyError("no_token")
    return token


def require(claims: Claims, scopes: Sequence[str]) -> Claims:
    """Refuses claims that lack one of the scopes."""
    if scopes and not set(scopes).issubset(claims.scopes):
        raise VerifyError("scope", tuple(scopes))
    return claims


def authorize(verifier: Verifier, authorization: Sequence[str], scopes: Sequence[str]) -> Claims:
    return require(verifier.verify(bearer(authorization)), scopes)


async def authorize_async(verifier: Verifier, authorization: Sequence[str], scopes: Sequence[str]) -> Claims:
    return require(await verifier.verify_async(bearer(authorization)), scopes)


class Refusal(NamedTuple):
    """An answer: a problem document (RFC 9457) that says no more than the challenge."""

    status: int
    reason: str
    code: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, error: VerifyError) -> "Refusal":
        code, reason = _PUBLIC.get(error.code, "invalid_token"), HTTPStatus(error.status).phrase
        problem = {"type": "about:blank", "title": reason, "status": error.status, "code": code}
        body = json.dumps(problem, separators=(",", ":")).encode() + b"\n"
        headers = {
            "Content-Type": "application/problem+json",
            "Cache-Control": "no-store",
            "Content-Length": str(len(body)),
        }
        if error.challenge is not None:
            headers["WWW-Authenticate"] = error.challenge
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "2"
        return cls(error.status, reason, code, headers, body)
