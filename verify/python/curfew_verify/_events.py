"""Reads ``text/event-stream`` as the HTML standard has it, section 9.2.6."""

import codecs
from collections.abc import Iterator
from typing import Final

MAX_LINE: Final = 64 << 10
_BOM: Final = codecs.BOM_UTF8


class StreamError(Exception):
    """The stream sends what it must not; it is closed and opened anew."""


class EventReader:
    """Takes the bytes as they come and gives the events that they complete: (event, data).

    A line ends with LF, CR or CR LF, wherever the pieces are cut. ``lines`` counts them: each one is a sign of life.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.retry = 0.0  # seconds that the server asks to wait before the next stream
        self._rest = b""
        self._begun = False  # behind the place where a byte order mark may stand
        self._after_cr = False  # a LF that comes now belongs to the line before
        self._event = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[str, bytes]]:
        rest = self._rest + chunk
        if not self._begun:
            if len(rest) < len(_BOM) and _BOM.startswith(rest):
                self._rest = rest
                return
            self._begun = True
            rest = rest.removeprefix(_BOM)
        at = 0
        if self._after_cr and rest:
            at = 1 if rest.startswith(b"\n") else 0
            self._after_cr = False
        while True:
            lf, cr = rest.find(b"\n", at), rest.find(b"\r", at)
            end = lf if cr < 0 else cr if lf < 0 else min(lf, cr)
            if (len(rest) if end < 0 else end) - at > MAX_LINE:
                raise StreamError("the stream sends a line that is too long")
            if end < 0:
                break
            line, at = rest[at:end], end + 1
            if end == cr:
                if at == len(rest):
                    self._after_cr = True
                elif rest[at] == 0x0A:
                    at += 1
            self.lines += 1
            # What is still to be read is kept before an event is handed out: its taker may stop here.
            event = self._line(line)
            if event is not None:
                self._rest = rest[at:]
                yield event
        self._rest = rest[at:]

    def _line(self, line: bytes) -> tuple[str, bytes] | None:
        if not line:
            event, data = self._event, self._data
            self._event, self._data, self._size = b"", [], 0
            return (event.decode("utf-8", "replace"), b"\n".join(data)) if data else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._event = value
        elif name == b"data":
            self._size += len(value) + 1
            if self._size > MAX_LINE:
                raise StreamError("the stream sends an event that is too large")
            self._data.append(value)
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value) / 1000
        return None  # id is in the data too
