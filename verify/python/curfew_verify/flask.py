"""A decorator for Flask's views.

    @app.get("/orders")
    @require_token(verifier, "orders")
    def orders():
        return {"user": g.auth.sub}
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import Response, current_app, g, request

from ._errors import VerifyError
from ._verifier import Verifier
from ._web import Refusal, authorize

_View = TypeVar("_View", bound=Callable[..., Any])


def require_token(verifier: Verifier, *scopes: str) -> Callable[[_View], _View]:
    """Calls the view only with a token that is alive and carries all of the scopes; its claims are in ``g.auth``.

    It answers the others itself, RFC 6750 section 3. The view may be async.
    """

    def decorate(view: _View) -> _View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            try:
                g.auth = authorize(verifier, request.headers.getlist("Authorization"), scopes)
            except VerifyError as error:
                refusal = Refusal.of(error)
                return Response(refusal.body, refusal.status, refusal.headers)
            return current_app.ensure_sync(view)(*args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorate
