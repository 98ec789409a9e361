"""The newest valid_from of each subject that was revoked and may still matter."""

import threading
from itertools import islice
from typing import Final, NamedTuple

from ._clock import SECOND

FOREVER: Final = (1 << 32) - 1
_PRUNED_AT_ONCE: Final = 1000


class Instant(NamedTuple):
    """A point in time in whole seconds, by the issuer's clock and by our monotonic one."""

    server: int
    local: int


class ValidFrom(NamedTuple):
    micros: int  # tokens issued at or before it are dead
    expires: int  # seconds: when the last token that it ends has expired, by the issuer's clock
    held: int  # seconds: not forgotten before, by ours, since the issuer's clock may jump ahead, and back

    @classmethod
    def of(cls, micros: int, expires: int, now: Instant) -> "ValidFrom":
        """Takes microseconds of the issuer's clock; ``expires`` may be 0, which is never."""
        if expires <= 0 or expires // SECOND >= FOREVER - 1:
            return cls(micros, FOREVER, FOREVER)
        # An event comes after its commit, and valid_from is at most a second ahead of that. The rest is for rounding.
        life = max(0, expires - micros) // SECOND + 3
        return cls(micros, expires // SECOND + 1, min(now.local + life, FOREVER))

    def over(self, now: Instant) -> bool:
        return self.expires <= now.server and self.held <= now.local

    def later(self, other: "ValidFrom") -> "ValidFrom":
        return ValidFrom(max(self.micros, other.micros), max(self.expires, other.expires), max(self.held, other.held))


NOTHING: Final = ValidFrom(0, 0, 0)


# In a dictionary each is one number, which takes a quarter of the room of a tuple of three.
def _pack(v: ValidFrom) -> int:
    return v.micros << 64 | v.expires << 32 | v.held


def _unpack(packed: int) -> ValidFrom:
    return ValidFrom(packed >> 64, packed >> 32 & FOREVER, packed & FOREVER)


class Index:
    """Four levels. Readers take no lock: they look each subject up once, and entries are replaced whole."""

    def __init__(self) -> None:
        self._devices: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._clients: dict[str, int] = {}
        self._levels: Final = {"device": self._devices, "user": self._users, "client": self._clients}
        self._everyone = NOTHING
        self.after_fork()

    def after_fork(self) -> None:
        self._writing = threading.Lock()  # held by apply, and by prune for some entries at a time

    def apply(self, level: str, subject: str, v: ValidFrom) -> None:
        """Notes an event; applying one twice, or an older one, changes nothing."""
        if v.micros <= 0:
            return
        with self._writing:
            if level == "everyone":
                self._everyone = self._everyone.later(v)
            elif (entries := self._levels.get(level)) is not None:
                entries[subject] = _pack(_unpack(entries.get(subject, 0)).later(v))

    def revoked(self, iat_us: int, client_id: str, device_id: str, sub: str) -> bool:
        """The one rule. A client's own token has no device."""
        if iat_us <= self._everyone.micros:
            return True
        if self._clients and iat_us <= self._clients.get(client_id, 0) >> 64:
            return True
        if iat_us <= self._users.get(sub, 0) >> 64:
            return True
        return bool(device_id) and iat_us <= self._devices.get(device_id, 0) >> 64

    def prune(self, now: Instant) -> None:
        """Forgets what ends no token any more."""
        for entries in self._levels.values():
            subjects = iter(list(entries))
            while some := list(islice(subjects, _PRUNED_AT_ONCE)):
                with self._writing:
                    for subject in some:
                        if _unpack(entries[subject]).over(now):
                            del entries[subject]
        with self._writing:
            if self._everyone.over(now):
                self._everyone = NOTHING

    def __len__(self) -> int:
        return sum(map(len, self._levels.values())) + (self._everyone is not NOTHING)
