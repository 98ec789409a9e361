"""Remembers the claims of tokens whose signature was right, by the exact string."""

import threading

from ._token import Claims


class Cache:
    """Two generations: when the younger one is full it becomes the older one, whose own are forgotten.

    The form of a token is strict, so no other string is the same token; and what is remembered is not that it is alive.
    Readers take no lock: each step of theirs is one look into a dictionary that is never changed but by adding to it.
    """

    def __init__(self, size: int) -> None:
        self._half = max(1, size // 2)
        self._young: dict[str, Claims] = {}
        self._older: dict[str, Claims] = {}
        self.epoch = 0  # how often all was forgotten
        self.after_fork()

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def get(self, token: str) -> Claims | None:
        claims = self._young.get(token)
        if claims is None:
            epoch = self.epoch
            claims = self._older.get(token)
            if claims is not None:
                self.put(token, claims, epoch)
        return claims

    def put(self, token: str, claims: Claims, epoch: int) -> None:
        """Remembers a token, unless all was forgotten since the epoch: its key may be the one that was withdrawn."""
        with self._lock:
            if epoch != self.epoch:
                return
            if len(self._young) >= self._half:
                self._older = self._young
                self._young = {}
            self._young[token] = claims

    def clear(self) -> None:
        """Forgets all: a key was withdrawn."""
        with self._lock:
            self._young = {}
            self._older = {}
            self.epoch += 1  # last: who reads the new number finds nothing of the time before it
