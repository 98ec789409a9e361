"""The vectors, and that the runner can fail."""

import contextlib
import logging
import unittest

from curfew_verify import _clock, _events, _index, _json, _token

from . import vectors


class Vectors(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_all(self) -> None:
        tokens, feeds, wrong = vectors.run()
        self.assertEqual(wrong, [])
        self.assertGreater(tokens, 300)
        self.assertGreater(feeds, 100)

    def test_mutants(self) -> None:
        """Each of these mistakes is found."""

        def dots(text: bytes) -> bytes:
            return decode(text.rstrip(b"="))

        decode = _token.decode
        mutants = {
            "padding": (_token, "decode", dots),
            "a member twice": (_json, "_DECODER", _json.json.JSONDecoder()),
            "depth": (_json, "MAX_DEPTH", 1000),
            "size": (vectors.Verifier._read.__globals__, "MAX_TOKEN", 9000),
            "leeway": (vectors.Verifier._judge.__globals__, "LEEWAY", 11_000_000),
            "doubles": (_json, "_EXACT", 1 << 54),
            "dates": (_token, "_MAX_DATE", 1 << 40),
            "no end": (_index.ValidFrom, "over", lambda *_: False),
            "an early end": (_index.ValidFrom, "over", lambda self, now: self.expires <= now.server),
            "the other early end": (_index.ValidFrom, "over", lambda self, now: self.held <= now.local),
            "one clock": (_clock.Moment, "since", lambda self, earlier: self.mono - earlier.mono),
            "the other clock": (_clock.Moment, "since", lambda self, earlier: self.wall - earlier.wall),
            "when it came": (
                _clock.Anchor,
                "hear",
                lambda self, server, now, tolerance: setattr(self, "first", 1) or now,
            ),
            "long lines": (_events, "MAX_LINE", 1 << 20),
            "a mark": (_events, "_BOM", b""),
        }
        for name, (where, what, mutant) in mutants.items():
            with self.subTest(name), self.changed(where, what, mutant):
                self.assertNotEqual(vectors.run(first=True)[2], [], "no vector found it")

    @contextlib.contextmanager
    def changed(self, where, what, mutant):  # type: ignore[no-untyped-def]
        if isinstance(where, dict):
            before, where[what] = where[what], mutant
        else:
            before = getattr(where, what)
            setattr(where, what, mutant)
        try:
            yield
        finally:
            if isinstance(where, dict):
                where[what] = before
            else:
                setattr(where, what, before)


if __name__ == "__main__":
    unittest.main()
