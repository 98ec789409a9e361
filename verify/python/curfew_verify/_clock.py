"""What time it is at the issuer, and how old the knowledge is.

All times are whole microseconds.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

SECOND: Final = 1_000_000
# How far ahead of the clock a token's issue may lie. Nothing else has any leeway.
LEEWAY: Final = 10 * SECOND
# How old knowledge is before the first contact.
NEVER: Final = (1 << 63) - 1
# Bounds a heartbeat's time: the year 2112.
MAX_TIME: Final = 1 << 52


class Moment(NamedTuple):
    """A point in time by this machine's two clocks.

    The monotonic one stands still while the machine is suspended, the wall clock may be set.
    """

    mono: int
    wall: int

    def since(self, earlier: "Moment") -> int:
        """The time from another moment to this one, by the clock that says more."""
        return max(self.mono - earlier.mono, self.wall - earlier.wall)


def now() -> Moment:
    return Moment(time.monotonic_ns() // 1000, time.time_ns() // 1000)


Clock = Callable[[], Moment]


class Reading(NamedTuple):
    """What a heartbeat says: at ``made``, or later, nothing was unknown, and the issuer's clock showed ``server``."""

    made: Moment
    server: int


class ClockJumped(Exception):
    """One of the two clocks was set: only a new request can say what time it is."""


class Anchor:
    """Ties the heartbeats of one stream to our clocks.

    When they come says nothing: whatever lies on the way may hold them up. But the first was made after the request
    was sent, and each later one as much later as its time says.
    """

    def __init__(self, asked: Moment) -> None:
        self._at = asked
        self.first: int | None = None  # the time of the first heartbeat

    def hear(self, server: int, now: Moment, tolerance: int) -> Moment:
        """The latest moment at which a heartbeat was surely made; never later than now.

        A clock that is a little fast makes nothing younger than now. One that was set is not believed: ClockJumped.
        """
        if self.first is None:
            self.first = server
        after = server - self.first
        at = Moment(min(self._at.mono, now.mono - after), min(self._at.wall, now.wall - after))
        if self._at.since(at) > tolerance:
            raise ClockJumped("the issuer's clock, or this machine's, went ahead of the other: asking anew")
        self._at = at
        return Moment(at.mono + after, at.wall + after)
