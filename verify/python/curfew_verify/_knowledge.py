"""What is known of revocations, and since when. It knows nothing of the network."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ._clock import LEEWAY, MAX_TIME, NEVER, SECOND, Anchor, Clock, ClockJumped, Moment, Reading, now
from ._events import EventReader, StreamError
from ._index import FOREVER, Index, Instant, ValidFrom
from ._json import read_object, whole
from ._token import Subjects

_log = logging.getLogger("curfew_verify")


@dataclass(frozen=True, slots=True)
class Revocation:
    """An event of the feed: from now on what was issued at or before ``valid_from`` is dead."""

    seq: int
    level: str  # device, user, client or everyone; take others too
    subject: str | None  # None for everyone
    valid_from: int  # microseconds, to compare with a token's iat_us
    reason: str

    def ends(self, claims: Mapping[str, Any]) -> bool:
        """Whether it ends the token with these claims."""
        of = Subjects.of(claims)
        if of.iat_us > self.valid_from:
            return False
        match self.level:
            case "everyone":
                return True
            case "client":
                return of.client_id == self.subject
            case "device":
                return of.device_id != "" and of.device_id == self.subject
            case "user":
                return of.sub == self.subject
        return False


class Knowledge:
    """The index, how old it is, and the number of the last event that is in it.

    One thread writes, the feed's. Readers ask first how old it is and then what it says: a heartbeat in between would
    vouch for events that were not looked at.
    """

    def __init__(self, bound: int, clock: Clock = now) -> None:
        self.index = Index()
        self.now = clock
        self.bound = bound  # microseconds
        self.seq = 0  # everything up to here has been applied
        self.events = 0  # applied, doubles included
        self.heard: Reading | None = None  # the last heartbeat
        self.wrong_clock = False  # has been said
        self.on_revocation: tuple[Callable[[Revocation], None], ...] = ()

    def after_fork(self) -> None:
        self.index.after_fork()
        self.heard = None  # the parent's stream is not ours: only one of our own says that nothing is unknown

    @property
    def tolerance(self) -> int:
        """What a stream's heartbeats may be late, or a clock set by, before a new stream is opened.

        With a heartbeat every 15 s a third of the usual bound would do; less is better, since tokens expire that much
        early.
        """
        return max(SECOND, min(self.bound // 3, 5 * SECOND))

    def clock(self, at: Moment) -> tuple[int, int]:
        """The issuer's time at a moment, and how old the knowledge is then.

        Between heartbeats the issuer's time goes on with ours; before the first one it is ours.
        """
        heard = self.heard
        if heard is None:
            return at.wall, NEVER
        age = at.since(heard.made)
        return heard.server + age, age

    def instant(self, at: Moment) -> Instant:
        server, _ = self.clock(at)
        return Instant(min(max(server // SECOND, 0), FOREVER - 1), at.mono // SECOND)

    def offset(self, at: Moment) -> int:
        """What the issuer's clock is ahead of this machine's."""
        server, _ = self.clock(at)
        return server - at.wall

    def apply(self, event: Mapping[str, Any]) -> None:
        """Notes an event of the feed."""
        seq, valid_from = whole(event.get("seq")), whole(event.get("valid_from"))
        expires = whole(event.get("expires_at", 0))
        level, subject, reason = event.get("level", ""), event.get("subject"), event.get("reason")
        # What was not understood must not be vouched for by the next heartbeat.
        if seq is None or valid_from is None or expires is None:
            raise StreamError("an event without its numbers")
        if not isinstance(level, str) or not (subject is None or isinstance(subject, str)):
            raise StreamError("an event that cannot be read")
        self.index.apply(level, subject or "", ValidFrom.of(valid_from, expires, self.instant(self.now())))
        self.events += 1
        revocation = Revocation(seq, level, subject, valid_from, reason if isinstance(reason, str) else "")
        for callback in self.on_revocation:
            try:
                callback(revocation)
            except Exception:
                _log.exception("a callback for revocations failed")
        self.seq = max(self.seq, seq)

    def hear(self, anchor: Anchor, heartbeat: Mapping[str, Any]) -> None:
        """Notes a heartbeat of a stream. StreamError, ClockJumped: only a new stream says what is so."""
        seq, server = whole(heartbeat.get("seq")), whole(heartbeat.get("time"))
        if seq is None or server is None or not 0 < server < MAX_TIME:
            raise StreamError("a heartbeat that says not when it was made")
        if seq < self.seq:
            _log.warning("the issuer's log became shorter (%d, it was %d); what is known stays known", seq, self.seq)
        self.seq = seq
        at = self.now()
        made = anchor.hear(server, at, self.tolerance)
        self.heard = Reading(made, server)
        if at.since(made) > self.tolerance:
            raise ClockJumped("heartbeats come late, or the issuer's clock was set back: asking anew")
        # A wrong clock here is said once each time it becomes wrong.
        offset = self.offset(at)
        wrong = abs(offset) > LEEWAY
        if wrong and not self.wrong_clock:
            _log.error(
                "the clock of this machine is off by %.1f s; tokens are judged by the issuer's", -offset / SECOND
            )
        self.wrong_clock = wrong


class StreamEnded(Exception):
    """The server ended the stream. ``resume``: in good order, because a new token is needed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the server ended the stream: {reason}")
        self.resume = reason in ("token_expired", "token_revoked")


_MALFORMED: Final = "the stream sends what cannot be read"


class Stream:
    """One reading of the feed: bytes in, knowledge out. It begins when it is asked for."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._anchor = Anchor(knowledge.now())
        self._reader = EventReader()

    @property
    def begun(self) -> bool:
        """Whether its first heartbeat has come: before it, it may be anybody's answer, and the log of any length."""
        return self._anchor.first is not None

    @property
    def retry(self) -> float:
        """How many seconds the server asks to wait before the next stream; 0 if it does not."""
        return self._reader.retry

    @property
    def lines(self) -> int:
        return self._reader.lines

    def feed(self, chunk: bytes) -> None:
        """StreamError, ClockJumped, StreamEnded: this stream is over."""
        for kind, data in self._reader.feed(chunk):
            self.take(kind, data)

    def take(self, kind: str, data: bytes) -> None:
        """One event of the stream; others than these mean nothing to us."""
        if kind not in ("revocation", "heartbeat", "close"):
            return
        try:
            members = read_object(data)
        except ValueError:
            raise StreamError(_MALFORMED) from None
        if kind == "revocation":
            self._knowledge.apply(members)
        elif kind == "heartbeat":
            self._knowledge.hear(self._anchor, members)
        else:
            raise StreamEnded(str(members.get("reason")))
