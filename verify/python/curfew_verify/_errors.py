"""Why a token was not accepted."""

from typing import Final, Literal

Code = Literal[
    "no_token",
    "request",
    "malformed",
    "type",
    "unknown_key",
    "signature",
    "claims",
    "issuer",
    "audience",
    "binding",
    "expired",
    "not_yet_valid",
    "revoked",
    "stale",
    "unavailable",
    "scope",
]

_WHY: Final[dict[Code, str]] = {
    "no_token": "the request has no access token",
    "request": "the request has more than one Authorization header",
    "malformed": "the token is malformed",
    "type": "the token is not an access token",
    "unknown_key": "the token's key is not known",
    "signature": "the token's signature is wrong",
    "claims": "a required claim is missing",
    "issuer": "the token is of another issuer",
    "audience": "the token is for another audience",
    "binding": "the token is bound to a key, which is not checked here",
    "expired": "the token has expired",
    "not_yet_valid": "the token is from the future",
    "revoked": "the token was signed out",
    "stale": "the revocation feed is silent for too long",
    "unavailable": "the issuer cannot be reached",
    "scope": "the token lacks a scope",
}

# RFC 6750 section 3: what is not named here is 401 with error="invalid_token".
_STATUS: Final[dict[Code, int]] = {"request": 400, "scope": 403, "stale": 503, "unavailable": 503}
_CHALLENGE: Final[dict[Code, str | None]] = {
    "no_token": "Bearer",
    "request": 'Bearer error="invalid_request"',
    "scope": 'Bearer error="insufficient_scope"',
    "stale": None,
    "unavailable": None,
}


class VerifyError(Exception):
    """A token that is not accepted.

    ``code`` says why, and does not change between versions. ``status`` is the HTTP status to answer with,
    ``challenge`` the value of the header ``WWW-Authenticate``, or None where there is none.
    """

    code: Code
    status: int
    challenge: str | None

    def __init__(self, code: Code, scopes: tuple[str, ...] = ()) -> None:
        super().__init__(_WHY[code])
        self.code = code
        self.status = _STATUS.get(code, 401)
        self.challenge = _CHALLENGE.get(code, 'Bearer error="invalid_token"')
        if code == "scope" and self.challenge is not None:
            self.challenge += f', scope="{" ".join(scopes)}"'

    def __reduce__(self) -> tuple[type["VerifyError"], tuple[Code]]:
        return type(self), (self.code,)
