"""What is asked of the issuer: its metadata, its keys, tokens of our own, introspection, acknowledgements."""

import base64
import json
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ._http import Exchange, Http, RequestError
from ._json import read_object

_ENDPOINTS: Final = {
    "token": "token_endpoint",
    "introspection": "introspection_endpoint",
    "jwks": "jwks_uri",
    "feed": "revocation_feed_endpoint",
    "ack": "revocation_ack_endpoint",
}


class Metadata(NamedTuple):
    """What we need of RFC 8414."""

    token: str
    introspection: str
    jwks: str
    feed: str
    ack: str


class Refused(RequestError):
    """The issuer answered with another status than it should."""

    def __init__(self, url: str, status: int, error: str = "") -> None:
        super().__init__(f"{url}: {status} {error}".rstrip())
        self.status = status


class Document(NamedTuple):
    members: dict[str, Any]
    etag: str


class Issuer:
    """The issuer, asked as the client that we are."""

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self.url = issuer
        self.http = Http()
        quote = urllib.parse.quote_plus
        # RFC 6749 section 2.3.1: the parts are form-urlencoded first.
        credentials = f"{quote(client_id)}:{quote(client_secret)}".encode()
        self._basic: Final = {"Authorization": "Basic " + base64.b64encode(credentials).decode()}
        self._metadata: Metadata | None = None
        self._token: tuple[str, float] | None = None  # our own, and until when
        self._own = threading.Lock()  # one request for a token at a time

    def after_fork(self) -> None:
        self.http.after_fork()
        self._own = threading.Lock()
        self._token = None

    def _json(self, exchange: Exchange, url: str) -> dict[str, Any]:
        """The document of an answer with status 200."""
        status = exchange.answer.status
        try:
            members = read_object(exchange.read())
        except ValueError as err:
            if status == 200:
                raise RequestError(f"{url}: {err}") from None
            members = {}
        if status != 200:
            error = members.get("error")
            raise Refused(url, status, error if isinstance(error, str) else "")
        return members

    def metadata(self) -> Metadata:
        """Fetched once, RFC 8414 section 3."""
        if self._metadata is not None:
            return self._metadata
        parts = urllib.parse.urlsplit(self.url)
        # Section 3.1: the well-known part goes between the host and the issuer's path.
        path = "/.well-known/oauth-authorization-server" + parts.path.removesuffix("/")
        url = urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        with self.http.open("GET", url, {"Accept": "application/json"}) as exchange:
            members = self._json(exchange, url)
        if members.get("issuer") != self.url:  # section 3.3
            raise RequestError(f"the metadata is of the issuer {members.get('issuer')!r}")
        endpoints: dict[str, str] = {}
        for name, member in _ENDPOINTS.items():
            endpoint = members.get(member)
            # It gets our secret, so it must be the issuer's own.
            if not isinstance(endpoint, str) or not endpoint.startswith(self.url.removesuffix("/") + "/"):
                raise RequestError(f"the metadata names {endpoint!r}, which is not under the issuer")
            endpoints[name] = endpoint
        self._metadata = Metadata(**endpoints)
        return self._metadata

    def keys(self, etag: str) -> Document | None:
        """The key set; None if it is still the one with that tag."""
        url = self.metadata().jwks
        headers = {"Accept": "application/json", **({"If-None-Match": etag} if etag else {})}
        with self.http.open("GET", url, headers) as exchange:
            if exchange.answer.status == 304:
                exchange.read()
                return None
            return Document(self._json(exchange, url), exchange.answer.headers.get("ETag", ""))

    def _form(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **self._basic}
        with self.http.open("POST", url, headers, urllib.parse.urlencode(form).encode()) as exchange:
            return self._json(exchange, url)

    def introspect(self, token: str) -> bool:
        """Whether a token is alive, RFC 7662."""
        return self._form(self.metadata().introspection, {"token": token}).get("active") is True

    def own_token(self, fresh: bool = False) -> str:
        """Our access token for the feed: a new one, or the last one while it lives."""
        with self._own:
            if not fresh and self._token is not None and time.monotonic() < self._token[1]:
                return self._token[0]
            url = self.metadata().token
            began = time.monotonic()
            answer = self._form(url, {"grant_type": "client_credentials", "scope": "revocations"})
            token, life = answer.get("access_token"), answer.get("expires_in", 0)
            if not isinstance(token, str) or not isinstance(life, int | float):
                raise RequestError(f"{url}: an answer without a token")
            self._token = token, began + 0.9 * life
            return token

    def forget_token(self) -> None:
        self._token = None

    def acknowledge(self, subscriber: str, seq: int) -> None:
        """Says that a subscriber has applied everything up to a number."""
        url = self.metadata().ack
        body = json.dumps({"subscriber": subscriber, "seq": seq}).encode()
        status = self._send(url, body)
        if status == 401:  # our own token was signed out, perhaps by the very event
            self.forget_token()
            status = self._send(url, body)
        if status // 100 != 2:
            raise Refused(url, status)

    def _send(self, url: str, body: bytes) -> int:
        headers = {"Authorization": "Bearer " + self.own_token(), "Content-Type": "application/json"}
        with self.http.open("POST", url, headers, body) as exchange:
            exchange.read()
            return exchange.answer.status

    def feed(self, subscriber: str, after: int) -> Exchange:
        """Opens the revocation feed behind a number."""
        url = self.metadata().feed
        headers = {
            "Authorization": "Bearer " + self.own_token(),
            "Accept": "text/event-stream",
            "Cache-Control": "no-store",
            "Last-Event-ID": str(after),
        }
        exchange = self.http.open("GET", f"{url}?subscriber={urllib.parse.quote(subscriber)}", headers)
        if exchange.answer.status != 200:
            with exchange:
                raise Refused(url, exchange.answer.status)
        return exchange
