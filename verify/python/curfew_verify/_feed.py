"""Follows the revocation feed in threads of its own, and says what has been applied."""

import logging
import random
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Final

from ._clock import ClockJumped
from ._events import StreamError
from ._http import RequestError
from ._issuer import Issuer
from ._keys import KEYS_MAX_AGE, KeySet
from ._knowledge import Knowledge, Stream, StreamEnded

# How long a stream may say nothing; heartbeats come at least every 15 s.
SILENCE: Final = 20.0
BACK_OFF_MIN: Final = 0.1
BACK_OFF_MAX: Final = 10.0
ACK_BACK_OFF_MAX: Final = 5.0
# How long a stream lives before it counts as one that works.
PROVED_AFTER: Final = 3.0
UPKEEP_EVERY: Final = 60.0
_CHUNK: Final = 64 << 10

_log = logging.getLogger("curfew_verify")


class Feed:
    """Three daemon threads: one reads, one acknowledges, one keeps the keys young and the index small."""

    def __init__(self, issuer: Issuer, knowledge: Knowledge, keys: KeySet, subscriber: str) -> None:
        self._issuer, self._knowledge, self._keys = issuer, knowledge, keys
        self._subscriber = subscriber
        self._stop = threading.Event()
        self._applied = threading.Event()  # there is something to acknowledge
        self._threads: list[threading.Thread] = []
        self._acknowledged = -1
        self.connects = 0
        self.acks = 0

    def start(self) -> None:
        for name, run in (("feed", self._follow), ("ack", self._acknowledge), ("upkeep", self._upkeep)):
            thread = threading.Thread(target=self._guarded, args=(run,), name=f"curfew-verify-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Ends the threads and waits for them, but not long for one that is just connecting."""
        self._stop.set()
        self._applied.set()
        self._issuer.http.shut()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(1.0)

    def _guarded(self, run: Callable[[], None]) -> None:
        """A mistake of ours must not leave a verifier without its feed: it is said, and run again."""
        while not self._stop.is_set():
            try:
                run()
            except Exception:
                if not self._stop.is_set():
                    _log.exception("an error that should not be; it goes on")
                self._stop.wait(BACK_OFF_MAX)

    def _pause(self, wait: float) -> None:
        """Longer each time, and never in step with others."""
        self._stop.wait(wait * random.uniform(0.5, 1.0))

    def _follow(self) -> None:
        wait = least = BACK_OFF_MIN
        while not self._stop.is_set():
            self._keys.refresh_old()
            began = time.monotonic()
            stream, ended = self._read()
            if self._stop.is_set():
                return
            if stream is not None and stream.retry > 0:
                least = min(max(stream.retry, BACK_OFF_MIN), BACK_OFF_MAX)
            wait = max(wait, least)
            # An answer of 200 proves nothing, anybody's portal gives it; a server may also end every stream in good
            # order.
            if stream is not None and stream.begun and time.monotonic() - began >= PROVED_AFTER:
                wait = least
                if isinstance(ended, StreamEnded) and ended.resume:
                    continue
            _log.warning("the revocation feed is interrupted behind %d: %s", self._knowledge.seq, ended)
            self._pause(wait)
            wait = min(2 * wait, BACK_OFF_MAX)

    def _read(self) -> tuple[Stream | None, Exception]:
        """Reads one stream to its end: the stream, if it was asked for, and why it is over."""
        stream: Stream | None = None
        try:
            self._issuer.own_token(fresh=True)
            stream = Stream(self._knowledge)
            with self._issuer.feed(self._subscriber, self._knowledge.seq) as exchange:
                self.connects += 1
                exchange.deadline.set(SILENCE)
                while chunk := exchange.answer.read1(_CHUNK):
                    lines = stream.lines
                    try:
                        stream.feed(chunk)
                    finally:  # the event that ends our own token comes together with the end
                        self._tell(stream)
                    if stream.lines != lines:
                        exchange.deadline.set(SILENCE)
            raise StreamError("the stream broke off")
        except (StreamEnded, StreamError, ClockJumped, RequestError, HTTPException, OSError, ValueError) as err:
            return stream, err

    def _tell(self, stream: Stream) -> None:
        """Not before a stream's first heartbeat: it says how long the log is, and a restored one may be shorter."""
        if stream.begun and self._knowledge.seq != self._acknowledged:
            self._applied.set()

    def _acknowledge(self) -> None:
        """One request at a time, always the newest number."""
        wait = BACK_OFF_MIN
        while True:
            self._applied.wait()
            if self._stop.is_set():
                return
            self._applied.clear()
            seq = self._knowledge.seq
            try:
                self._issuer.acknowledge(self._subscriber, seq)
            except RequestError as err:
                if self._stop.is_set():
                    return
                _log.warning("an acknowledgement was not taken; it is sent again: %s", err)
                self._applied.set()
                self._pause(wait)
                wait = min(2 * wait, ACK_BACK_OFF_MAX)
            else:
                self._acknowledged = seq
                self.acks += 1
                wait = BACK_OFF_MIN

    def _upkeep(self) -> None:
        while not self._stop.wait(UPKEEP_EVERY):
            knowledge = self._knowledge
            knowledge.index.prune(knowledge.instant(knowledge.now()))
            self._keys.refresh(KEYS_MAX_AGE)
