"""WSGI middleware, for every WSGI application.

    application = RequireToken(application, verifier, ["orders"])

Of the application's requests only those arrive whose access token is alive and carries every one of the scopes. Its
claims are in ``environ["curfew.auth"]``.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ._errors import VerifyError
from ._verifier import Verifier
from ._web import Refusal, authorize

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class RequireToken:
    """Answers requests without a good token itself, RFC 6750 section 3.

    A server joins several Authorization headers before WSGI sees them: that is no good token.
    """

    def __init__(self, app: "WSGIApplication", verifier: Verifier, scopes: Sequence[str] = ()) -> None:
        self.app, self.verifier, self.scopes = app, verifier, tuple(scopes)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        header = environ.get("HTTP_AUTHORIZATION")
        try:
            claims = authorize(self.verifier, [] if header is None else [header], self.scopes)
        except VerifyError as error:
            refusal = Refusal.of(error)
            start_response(f"{refusal.status} {refusal.reason}", list(refusal.headers.items()))
            return [refusal.body]
        return self.app({**environ, "curfew.auth": claims}, start_response)
