"""The verifier: what is asked of each token, in which order."""

import asyncio
import ipaddress
import math
import os
import re
import secrets
import socket
import string
import threading
import urllib.parse
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from ._cache import Cache
from ._clock import LEEWAY, NEVER, SECOND
from ._errors import VerifyError
from ._feed import Feed
from ._http import REQUEST_TIMEOUT, RequestError
from ._issuer import Issuer
from ._keys import KeySet
from ._knowledge import Knowledge, Revocation
from ._token import MAX_TOKEN, Claims, Subjects, decode, parse_body, parse_header, read_claims

WhenStale = Literal["introspect", "reject", "accept"]

_SUBSCRIBER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LETTERS: Final = string.ascii_uppercase + "234567"
# Requests of verify_async that are under way at a time; the others wait for one of them.
_ASYNC_REQUESTS: Final = 32


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters since the start, and the present state; fit for any metrics library."""

    verified: int  # accepted with fresh knowledge
    cached: int  # calls that found the signature remembered
    refused: int  # malformed, forged, foreign
    expired: int
    revoked: int
    stale: int  # calls while the knowledge was too old
    introspected: int
    events: int  # applied, doubles included
    acks: int
    connects: int  # times the feed was opened
    key_fetches: int

    entries: int  # of the revocation index
    seq: int
    staleness: float  # seconds; infinite before the first heartbeat
    clock_offset: float  # seconds that the issuer's clock is ahead of this machine's


class Verifier:
    """Checks access tokens. All its methods may be called from every thread; close() ends its own threads.

    Made by :func:`create_verifier`. In a process that was forked from the one that made it, it starts its threads
    again when it is first used there, under a subscriber name of its own.
    """

    def __init__(
        self,
        issuer: Issuer,
        knowledge: Knowledge,
        audience: str,
        subscriber: str,
        when_stale: WhenStale,
        cache_size: int,
    ) -> None:
        self._issuer, self._knowledge = issuer, knowledge
        self.audience = audience  # what aud must contain
        self._subscriber, self._when_stale = subscriber, when_stale
        self._cache = Cache(cache_size)
        self._keys = KeySet(issuer, self._cache.clear)
        self._verified = self._cached = self._refused = self._expired = 0
        self._revoked = self._stale = self._introspected = 0
        self._feed: Feed | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._asleep = True  # the threads are to be started when it is used
        self._state = threading.Lock()

    # The life of a verifier.

    def _wake(self) -> None:
        with self._state:
            if self._asleep:
                self._feed = Feed(self._issuer, self._knowledge, self._keys, self._subscriber)
                self._feed.start()
                self._asleep = False

    def _after_fork(self) -> None:
        """In the child. Its one thread is this one: whatever the others held or did is not here."""
        self._state = threading.Lock()
        self._issuer.after_fork()
        self._keys.after_fork()
        self._cache.after_fork()
        self._knowledge.after_fork()
        self._subscriber = _unlike_any_other(self._subscriber)
        self._feed = self._pool = None
        self._asleep = not self._issuer.http.closed

    def close(self) -> None:
        """Ends the threads and every request. Afterwards what is known grows old, and then nothing can be asked."""
        with self._state:
            self._asleep = False
            self._issuer.http.closed = True
            feed, pool = self._feed, self._pool
            self._feed = self._pool = None
        if feed is not None:
            feed.stop()
        self._issuer.http.shut()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        _verifiers.discard(self)

    def __enter__(self) -> "Verifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Checking. What blocks is always one call, so that verify_async can have it done elsewhere.

    def verify(self, token: str) -> Claims:
        """Checks a token and returns its claims, or raises VerifyError. RFC 9068 section 4, and the one rule.

        It sends a request only for a key that is not known yet, and while the knowledge is stale and the policy is to
        ask.
        """
        if self._asleep:
            self._wake()
        claims = self._cache.get(token)
        if claims is not None:
            self._cached += 1
        else:
            claims = self._check(token)
            if claims is None:
                self._keys.refresh()
                claims = self._check_again(token)
        if not self._judge(claims):
            self._ask(token)
        return claims

    async def verify_async(self, token: str) -> Claims:
        """As verify, for asyncio: requests are sent by other threads, the loop is never blocked."""
        if self._asleep:
            self._wake()
        claims = self._cache.get(token)
        if claims is not None:
            self._cached += 1
        else:
            claims = self._check(token)
            if claims is None:
                if self._keys.due():
                    await self._elsewhere(self._keys.refresh)
                claims = self._check_again(token)
        if not self._judge(claims):
            await self._elsewhere(self._ask, token)
        return claims

    def assert_alive(self, claims: Mapping[str, Any], token: str | None = None) -> None:
        """Only the one rule and the policy for stale knowledge, for claims that your own JWT code has verified.

        It looks at ``iat_us``, ``client_id``, ``device_id`` and ``sub``. Without the token nobody can be asked about
        it: while the knowledge is stale, "introspect" then acts as "reject".
        """
        if not self._alive_by_rule(claims):
            if token is None:
                raise VerifyError("stale")
            self._ask(token)

    async def assert_alive_async(self, claims: Mapping[str, Any], token: str | None = None) -> None:
        """As assert_alive, for asyncio."""
        if not self._alive_by_rule(claims):
            if token is None:
                raise VerifyError("stale")
            await self._elsewhere(self._ask, token)

    def _check(self, token: str) -> Claims | None:
        """What needs to be done once for a token: cheap things first. None: its key is not known."""
        epoch = self._cache.epoch
        try:
            claims = self._read(token)
        except VerifyError:
            self._refused += 1
            raise
        if claims is not None:
            self._cache.put(token, claims, epoch)
        return claims

    def _check_again(self, token: str) -> Claims:
        """The same after the keys were asked for: who is not known now is unknown."""
        claims = self._check(token)
        if claims is None:
            self._refused += 1
            raise self._keys.unknown()
        return claims

    def _read(self, token: str) -> Claims | None:
        try:
            if len(token) > MAX_TOKEN:
                raise VerifyError("malformed")
            raw = token.encode("ascii")
            head, body, last = raw.split(b".")
            # A header that was seen before need not be parsed again.
            key = self._keys.seen(head)
            header = parse_header(head) if key is None else None
            members, signature = parse_body(body), decode(last)
        except (ValueError, AttributeError, TypeError):  # of another form, or no string at all
            raise VerifyError("malformed") from None
        if header is not None:
            header.check()
            key = self._keys.named(head, header)
        if key is None:
            return None
        key.check(raw[: -1 - len(last)], signature)
        claims = read_claims(members)
        if claims["iss"] != self._issuer.url:
            raise VerifyError("issuer")
        if self.audience not in claims._audience:
            raise VerifyError("audience")
        if "cnf" in claims:  # RFC 7800: only the holder of a key may use it, and who holds it is not checked here
            raise VerifyError("binding")
        return claims

    def _judge(self, claims: Claims) -> bool:
        """What changes with time, asked on every call. False: the issuer has to be asked."""
        # The issuer's clock counts: its heartbeats carry it. How old the knowledge is must be asked before the
        # knowledge.
        knowledge = self._knowledge
        now, age = knowledge.clock(knowledge.now())
        if now >= claims._expires:
            self._expired += 1
            raise VerifyError("expired")
        if claims._issued > now + LEEWAY:
            self._refused += 1
            raise VerifyError("not_yet_valid")
        dead = knowledge.index.revoked(claims._iat_us, claims._client_id, claims._device_id, claims._sub)
        return self._alive(dead, age)

    def _alive_by_rule(self, claims: Mapping[str, Any]) -> bool:
        if self._asleep:
            self._wake()
        subjects = Subjects.of(claims)
        _, age = self._knowledge.clock(self._knowledge.now())
        return self._alive(self._knowledge.index.revoked(*subjects), age)

    def _alive(self, dead: bool, age: int) -> bool:
        if dead:
            self._revoked += 1
            raise VerifyError("revoked")
        if age <= self._knowledge.bound:
            self._verified += 1
            return True
        self._stale += 1
        if self._when_stale == "reject":
            raise VerifyError("stale")
        return self._when_stale == "accept"

    def _ask(self, token: str) -> None:
        """Asks the issuer about a token that is not known to be dead."""
        self._introspected += 1
        try:
            active = self._issuer.introspect(token)
        except RequestError as err:
            raise VerifyError("unavailable") from err
        if not active:
            raise VerifyError("revoked")

    async def _elsewhere(self, call: Callable[..., None], *args: str) -> None:
        with self._state:
            if self._issuer.http.closed:
                raise VerifyError("unavailable")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_ASYNC_REQUESTS, "curfew-verify-async")
            asked = asyncio.get_running_loop().run_in_executor(self._pool, call, *args)
        try:
            # The time for which it waits for a thread counts too.
            await asyncio.wait_for(asked, REQUEST_TIMEOUT)
        except TimeoutError as err:
            raise VerifyError("unavailable") from err

    # Looking.

    def staleness(self) -> float:
        """How many seconds ago it was last known that nothing is unknown, at most; infinite before the first heartbeat.

        It counts from when the last heartbeat was made, not from when it came. Time for which the machine was
        suspended counts.
        """
        if self._asleep:
            self._wake()
        _, age = self._knowledge.clock(self._knowledge.now())
        return math.inf if age == NEVER else age / SECOND

    def seq(self) -> int:
        """The number of the last event that has been applied."""
        return self._knowledge.seq

    def stats(self) -> Stats:
        """The counters."""
        knowledge, feed = self._knowledge, self._feed
        return Stats(
            verified=self._verified,
            cached=self._cached,
            refused=self._refused,
            expired=self._expired,
            revoked=self._revoked,
            stale=self._stale,
            introspected=self._introspected,
            events=knowledge.events,
            acks=feed.acks if feed else 0,
            connects=feed.connects if feed else 0,
            key_fetches=self._keys.fetches,
            entries=len(knowledge.index),
            seq=knowledge.seq,
            staleness=self.staleness(),
            clock_offset=knowledge.offset(knowledge.now()) / SECOND,
        )

    def on_revocation(self, callback: Callable[[Revocation], None]) -> Callable[[], None]:
        """Has a callback called for each revocation, for who holds connections open that a token has opened.

        It is called by the feed's thread, once or more for each event, after the event counts for verify and before
        it is acknowledged: be quick, and hand the rest to a thread or loop of your own. Returns what takes it away
        again.
        """
        knowledge = self._knowledge
        with self._state:
            knowledge.on_revocation = (*knowledge.on_revocation, callback)

        def remove() -> None:
            with self._state:
                knowledge.on_revocation = tuple(one for one in knowledge.on_revocation if one is not callback)

        return remove


_verifiers: "weakref.WeakSet[Verifier]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for verifier in list(_verifiers):
        verifier._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _unlike_any_other(name: str) -> str:
    """A subscriber's name that is no other process's: containers may have the same process ids and host names."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", name)
    return name[-50:] + "-" + "".join(secrets.choice(_LETTERS) for _ in range(13))


def _is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine. For names see RFC 6761 section 6.3."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def create_verifier(
    *,
    issuer: str,
    client_id: str,
    client_secret: str,
    audience: str | None = None,
    subscriber: str | None = None,
    bound: float = 30,
    when_stale: WhenStale = "introspect",
    cache_size: int = 10_000,
    insecure_http: bool = False,
) -> Verifier:
    """Starts a verifier and returns at once; it comes up when the issuer does. Until then ``when_stale`` decides.

    issuer: the issuer's URL, exactly as in its metadata.
    client_id, client_secret: a confidential client with the grant client_credentials and the scope revocations,
        and, for "introspect", with introspection.
    audience: what ``aud`` must contain; the issuer by default.
    subscriber: names this process in receipts: 1 to 64 of A-Z a-z 0-9 . _ -. By default the end of the host's name
        and random letters.
    bound: how old the knowledge may become, in seconds. Heartbeats come at least every 15 s.
    when_stale: what happens then to a token that is not known to be dead: "introspect" asks the issuer, "reject"
        refuses it, "accept" accepts it.
    cache_size: how many tokens' signatures are remembered.
    insecure_http: takes an issuer at http:// that is not on this machine. Whoever is on the way to it can read the
        client's secret, put keys of their own in, and keep sign-outs back.

    ValueError: a configuration that cannot work.
    """
    parts = urllib.parse.urlsplit(issuer)
    if parts.scheme not in ("https", "http") or not parts.hostname or "?" in issuer or "#" in issuer:
        raise ValueError(f"issuer {issuer!r}: it takes an absolute http or https URL without query and fragment")
    if parts.scheme == "http" and not insecure_http and not _is_loopback(parts.hostname):
        raise ValueError(
            f"issuer {issuer!r}: it takes https, since it is not on this machine; insecure_http takes it all the same"
        )
    if not client_id or not client_secret:
        raise ValueError("client_id and client_secret are missing: the feed takes a confidential client")
    if when_stale not in get_args(WhenStale):
        raise ValueError(f"when_stale {when_stale!r}: it takes introspect, reject or accept")
    if subscriber is not None and not _SUBSCRIBER.fullmatch(subscriber):
        raise ValueError(f"subscriber {subscriber!r}: it takes 1 to 64 letters, digits, dots, dashes and underscores")
    if not 0 < bound < math.inf:
        raise ValueError(f"bound {bound!r}: it takes a number of seconds above 0")
    if cache_size < 1:
        raise ValueError(f"cache_size {cache_size!r}: it takes a number above 0")
    verifier = Verifier(
        Issuer(issuer, client_id, client_secret),
        Knowledge(round(bound * SECOND)),
        audience or issuer,
        subscriber or _unlike_any_other(socket.gethostname()),
        when_stale,
        cache_size,
    )
    _verifiers.add(verifier)
    verifier._wake()
    return verifier
