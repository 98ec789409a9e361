"""Middleware and a decorator for Django, 3.2 and newer, sync and async.

    # settings.py
    CURFEW = {"issuer": "https://id.example.com", "client_id": "api", "client_secret": …}

    # views.py
    @require_token("orders")
    def orders(request):
        return JsonResponse({"user": request.auth.sub})

``CURFEW`` holds what create_verifier takes. To ask every request for a token, put
``curfew_verify.django.RequireToken`` into ``MIDDLEWARE``; ``CURFEW_SCOPES`` then names the scopes that each must carry.
"""

import asyncio
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from ._errors import VerifyError
from ._verifier import Verifier, create_verifier
from ._web import Refusal, authorize, authorize_async

_View = TypeVar("_View", bound=Callable[..., Any])


@cache
def get_verifier() -> Verifier:
    """The verifier that the settings describe: one for each process, made when it is first asked for."""
    return create_verifier(**settings.CURFEW)


def _authorization(request: HttpRequest) -> list[str]:
    header = request.headers.get("Authorization")
    return [] if header is None else [header]


def _refuse(error: VerifyError) -> HttpResponse:
    refusal = Refusal.of(error)
    response = HttpResponse(refusal.body, status=refusal.status)
    for name, value in refusal.headers.items():
        response[name] = value
    return response


def require_token(*scopes: str) -> Callable[[_View], _View]:
    """Calls the view only with a token that is alive and carries all of the scopes; its claims are in ``request.auth``.

    It answers the others itself, RFC 6750 section 3.
    """

    def decorate(view: _View) -> _View:
        if asyncio.iscoroutinefunction(view):

            @wraps(view)
            async def checked_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                try:
                    request.auth = await authorize_async(get_verifier(), _authorization(request), scopes)
                except VerifyError as error:
                    return _refuse(error)
                return await view(request, *args, **kwargs)

            return checked_async  # type: ignore[return-value]

        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                request.auth = authorize(get_verifier(), _authorization(request), scopes)
            except VerifyError as error:
                return _refuse(error)
            return view(request, *args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorate


def RequireToken(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Middleware that asks every request for a token, with the scopes in ``CURFEW_SCOPES``."""
    get_verifier()  # so that it begins to follow the feed when the server starts
    return require_token(*getattr(settings, "CURFEW_SCOPES", ()))(get_response)


RequireToken.sync_capable = RequireToken.async_capable = True  # type: ignore[attr-defined]
