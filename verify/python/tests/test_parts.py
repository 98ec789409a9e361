"""The parts that the vectors do not reach: pieces of a stream, the index, the cache, keys, configuration."""

import copy
import json
import pickle
import random
import threading
import unittest
import uuid

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from curfew_verify import Claims, VerifyError, create_verifier
from curfew_verify._cache import Cache
from curfew_verify._events import MAX_LINE, EventReader, StreamError
from curfew_verify._http import RequestError
from curfew_verify._index import Index, Instant, ValidFrom
from curfew_verify._issuer import Document
from curfew_verify._json import read_object
from curfew_verify._keys import COOL_DOWN, KeySet, parse_keys
from curfew_verify._knowledge import Stream
from curfew_verify._token import decode, read_claims

from . import kit
from .vectors import heartbeat


class Events(unittest.TestCase):
    RAW = (
        b"\xef\xbb\xbfevent: a\ndata: 1\n\n: a comment\r\nevent: b\r\ndata:2\r\ndata: 3\r\n\r\n"
        b"id: 7\rdata\rdata:  4\r\revent: dropped\n\nretry: 250\nretry: 2x\ndata: \xc3\xa4\n\n"
        b"event: unfinished\ndata: 5\n"
    )
    WANT = [("a", b"1"), ("b", b"2\n3"), ("", b"\n 4"), ("", "ä".encode())]

    def test_cut_anywhere(self) -> None:
        for cut in range(len(self.RAW)):
            for more in (cut, cut + 1, cut + 3):
                reader = EventReader()
                pieces = (self.RAW[:cut], self.RAW[cut:more], self.RAW[more:])
                self.assertEqual([event for piece in pieces for event in reader.feed(piece)], self.WANT, (cut, more))
                self.assertEqual(reader.retry, 0.25)
        reader = EventReader()
        self.assertEqual([event for byte in self.RAW for event in reader.feed(bytes([byte]))], self.WANT)

    def test_bounds(self) -> None:
        for piece in (1000, MAX_LINE, 10 * MAX_LINE):
            reader = EventReader()
            with self.assertRaises(StreamError):
                for _ in range(20 * MAX_LINE // piece):
                    list(reader.feed(b"x" * piece))
            self.assertLessEqual(len(reader._rest), 12 * MAX_LINE)
        reader = EventReader()
        with self.assertRaises(StreamError):
            for _ in range(100):
                list(reader.feed(b"data: " + b"x" * 1000 + b"\n"))


class Indexes(unittest.TestCase):
    def test_against_a_model(self) -> None:
        """Events in any order, some twice, with clean-ups between: what counts is the newest that is not over."""
        rng = random.Random(1)
        index, model = Index(), {}
        subjects = [str(uuid.UUID(int=n)) for n in range(20)]
        for now in range(2000):
            level, subject = rng.choice(["device", "user", "client", "everyone"]), rng.choice(subjects)
            micros = now * 1_000_000 + rng.randrange(1_000_000) - rng.choice([0, 5_000_000])
            if level != "everyone" or now % 50 == 0:
                life = rng.choice([10, 100, 10_000])
                index.apply(level, subject, ValidFrom.of(micros, micros + life * 1_000_000, Instant(now, now)))
                key = (level, "" if level == "everyone" else subject)
                at, end = model.get(key, (0, 0))
                model[key] = max(at, micros), max(end, now + life)
            if now % 37 == 0:
                index.prune(Instant(now, now))
            device, user, client = (rng.choice(subjects) for _ in range(3))
            issued = max(1, now * 1_000_000 - rng.randrange(20_000_000))
            want = any(
                issued <= model.get(key, (0, 0))[0]
                for key in (("device", device), ("user", user), ("client", client), ("everyone", ""))
                if model.get(key, (0, 0))[1] > now  # a token that was issued before it can still be alive
            )
            if want:
                self.assertTrue(index.revoked(issued, client, device, user))
        index.prune(Instant(1 << 31, 1 << 31))
        self.assertEqual(len(index), 0)

    def test_readers_beside_a_writer(self) -> None:
        index, stop, wrong = Index(), threading.Event(), []
        index.apply("user", "u", ValidFrom.of(100, 0, Instant(0, 0)))

        def read() -> None:
            while not stop.is_set():
                if not index.revoked(100, "c", "d", "u") or index.revoked(101, "c", "d", "u"):
                    wrong.append(1)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for n in range(20_000):
            index.apply("device", str(n), ValidFrom.of(1_000_000, 2_000_000, Instant(0, 0)))
            if n % 1000 == 0:
                index.prune(Instant(100, 100))
        stop.set()
        for reader in readers:
            reader.join()
        self.assertEqual(wrong, [])


class Caches(unittest.TestCase):
    def test_generations(self) -> None:
        cache = Cache(4)
        claims = [Claims(n=n) for n in range(10)]
        for n, one in enumerate(claims):
            cache.put(str(n), one, 0)
            self.assertIs(cache.get("0"), claims[0])  # what is asked for stays
        self.assertLessEqual(len(cache._young) + len(cache._older), 4)

    def test_a_withdrawn_key_is_not_remembered(self) -> None:
        cache = Cache(4)
        epoch = cache.epoch
        cache.put("a", Claims(), epoch)
        cache.clear()
        cache.put("b", Claims(), epoch)
        self.assertEqual((cache.get("a"), cache.get("b")), (None, None))


class Asked(kit.Told):
    """An issuer whose keys are asked for."""

    def __init__(self, *jwks: dict[str, str]) -> None:
        super().__init__()
        self.jwks, self.fetched = list(jwks), 0

    def keys(self, etag: str) -> Document | None:
        self.fetched += 1
        if not self.jwks:
            raise RequestError("nobody there")
        return Document({"keys": copy.deepcopy(self.jwks)}, "")


class Keys(unittest.TestCase):
    def setUp(self) -> None:
        self.time = 1000.0
        self.first, self.second = kit.Signer("es-1"), kit.Signer("es-2")
        self.issuer = Asked(self.first.jwk)
        self.clock = kit.Clock()
        self.verifier = kit.verifier(self.clock, issuer=self.issuer)
        self.verifier._keys._monotonic = lambda: self.time
        Stream(self.verifier._knowledge).take("heartbeat", heartbeat(0, kit.NOW))

    def code(self, token: str) -> str:
        try:
            self.verifier.verify(token)
        except VerifyError as err:
            return err.code
        return "ok"

    def test_cool_down(self) -> None:
        good, unknown = self.first.sign(kit.claims_of()), self.second.sign(kit.claims_of())
        self.assertEqual(self.code(good), "ok")
        for _ in range(5):
            self.assertEqual(self.code(unknown), "unknown_key")
        self.assertEqual(self.issuer.fetched, 1)
        self.issuer.jwks.append(self.second.jwk)
        self.time += COOL_DOWN
        self.assertEqual(self.code(unknown), "ok")
        self.assertEqual(self.issuer.fetched, 2)

    def test_withdrawn(self) -> None:
        token = self.first.sign(kit.claims_of())
        self.assertEqual(self.code(token), "ok")
        self.issuer.jwks = [self.second.jwk]
        self.time += 300
        self.verifier._keys.refresh(300)
        self.assertEqual(self.code(token), "unknown_key")

    def test_another_key_of_the_same_name(self) -> None:
        token = self.first.sign(kit.claims_of())
        self.assertEqual(self.code(token), "ok")
        self.issuer.jwks = [{**self.second.jwk, "kid": "es-1"}]
        self.verifier._keys.refresh(0)
        self.assertEqual(self.code(token), "signature")

    def test_the_last_good_set_stays(self) -> None:
        token = self.first.sign(kit.claims_of())
        self.assertEqual(self.code(token), "ok")
        self.issuer.jwks = []
        with self.assertLogs("curfew_verify", "WARNING"):
            self.verifier._keys.refresh(0)
        self.assertEqual(self.code(self.first.sign(kit.claims_of(jti="2"))), "ok")

    def test_none_yet(self) -> None:
        self.issuer.jwks = []
        token = self.first.sign(kit.claims_of())
        with self.assertLogs("curfew_verify", "WARNING"):
            self.assertEqual(self.code(token), "unavailable")
        self.assertEqual((self.code(token), self.issuer.fetched), ("unavailable", 1))
        self.issuer.jwks = [self.first.jwk]
        self.time += 1
        self.assertEqual(self.code(token), "ok")

    def test_one_fetch_at_a_time(self) -> None:
        begun, go, issuer = threading.Event(), threading.Event(), self.issuer
        fetch = issuer.keys

        def slow(etag: str) -> Document | None:
            begun.set()
            go.wait(30)
            return fetch(etag)

        issuer.keys = slow  # type: ignore[method-assign]
        token, codes = self.first.sign(kit.claims_of()), []
        threads = [threading.Thread(target=lambda: codes.append(self.code(token))) for _ in range(8)]
        for thread in threads:
            thread.start()
        begun.wait(30)
        go.set()
        for thread in threads:
            thread.join()
        self.assertEqual((codes, issuer.fetched), (["ok"] * 8, 1))

    def test_what_is_no_key(self) -> None:
        rs = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key()))
        good = {"kty": "RSA", "alg": "RS256", "kid": "rs", "n": rs["n"], "e": rs["e"]}
        self.assertEqual(set(parse_keys({"keys": [good]})), {"rs"})
        bad = [
            None,
            1,
            [],
            {},
            {**good, "kid": ""},
            {**good, "kid": 1},
            {**good, "use": "enc"},
            {**good, "alg": "RS512"},
            {**good, "n": rs["n"] + "="},
            {**good, "n": rs["n"][:300]},
            {**good, "e": "AQ"},
            {**good, "n": None},
            {**self.first.jwk, "x": self.first.jwk["y"]},
            {**self.first.jwk, "crv": "P-384"},
            {**self.first.jwk, "alg": "EdDSA"},
        ]
        for key in bad:
            with self.assertRaises(RequestError):
                parse_keys({"keys": [key]})
        self.assertEqual(set(parse_keys({"keys": [*bad, good]})), {"rs"})
        for document in ({}, {"keys": None}, {"keys": {}}):
            with self.assertRaises(RequestError):
                parse_keys(document)

    def test_fork(self) -> None:
        """What was asked for when the process forked does not come to the child."""
        keys = KeySet(self.issuer, lambda: None, lambda: self.time)
        keys._lock.acquire()
        keys._flight, keys._tried = type("Never", (), {"landed": threading.Event()})(), self.time
        keys.after_fork()
        keys.refresh()
        self.assertIsNotNone(keys.named(b"", type("Header", (), {"kid": "es-1", "alg": "ES256"})()))


class Forms(unittest.TestCase):
    def test_base64url_has_one_form(self) -> None:
        rng = random.Random(2)
        for length in range(40):
            raw = rng.randbytes(length)
            text = kit.b64(raw).encode()
            self.assertEqual(decode(text), raw)
            for letter in b"ABQgwxyz059-_=+/. \n\r\0":
                for at in range(len(text) + 1):
                    for other in (
                        text[:at] + bytes([letter]) + text[at:],
                        text[:at] + bytes([letter]) + text[at + 1 :],
                    ):
                        try:
                            again = decode(other)
                        except ValueError:
                            continue
                        self.assertEqual(kit.b64(again).encode(), other)

    def test_numbers_of_any_length(self) -> None:
        self.assertEqual(read_object(b'{"n":%s}' % (b"9" * 5000)), {"n": float("inf")})

    def test_claims_stay_as_they_are(self) -> None:
        claims = read_claims(kit.claims_of(aud=["a", "b"], more={"list": [1, {"x": 2}]}))
        changes = [
            lambda: claims.__setitem__("sub", "x"),
            lambda: claims.pop("sub"),
            lambda: claims.update(sub="x"),
            claims.clear,
            lambda: claims.__delitem__("sub"),
            lambda: claims.setdefault("x", 1),
            claims.popitem,
            lambda: claims["more"].update(x=1),
            lambda: claims["aud"].append("c"),
            lambda: claims["more"]["list"][1].clear(),
        ]
        for change in changes:
            with self.assertRaises((TypeError, AttributeError)):
                change()
        with self.assertRaises(TypeError):
            claims |= {"sub": "x"}
        for same in (
            copy.deepcopy(claims),
            pickle.loads(pickle.dumps(claims)),
            json.loads(json.dumps(claims)),
            dict(claims),
        ):
            self.assertEqual(same["sub"], kit.USER)
        self.assertEqual((claims.sub, claims.device_id, claims.scopes), (kit.USER, kit.DEVICE, ("orders", "profile")))
        self.assertIsNone(read_claims(kit.claims_of(device_id=None, scope=None)).device_id)
        self.assertEqual(read_claims(kit.claims_of(scope=None)).scopes, ())

    def test_no_string(self) -> None:
        verifier = kit.verifier(kit.Clock())
        for token in (None, b"a.b.c", 1):
            with self.assertRaises(VerifyError) as caught:
                verifier.verify(token)  # type: ignore[arg-type]
            self.assertEqual(caught.exception.code, "malformed")


class Configuration(unittest.TestCase):
    def test_what_cannot_work(self) -> None:
        good = {"issuer": "https://id.example.com", "client_id": "api", "client_secret": "s"}
        bad = [
            {"issuer": "id.example.com"},
            {"issuer": "ftp://id.example.com"},
            {"issuer": "https://id.example.com?x"},
            {"issuer": "https://"},
            {"issuer": "https://id.example.com#x"},
            {"issuer": "http://id.example.com"},
            {"issuer": "http://127.example.com"},
            {"client_id": ""},
            {"client_secret": ""},
            {"when_stale": "ask"},
            {"subscriber": ""},
            {"subscriber": "a b"},
            {"subscriber": "ä"},
            {"subscriber": "a" * 65},
            {"subscriber": "a\n"},
            {"bound": 0},
            {"bound": -1},
            {"bound": float("nan")},
            {"bound": float("inf")},
            {"cache_size": 0},
        ]
        for wrong in bad:
            with self.subTest(wrong), self.assertRaises(ValueError):
                create_verifier(**{**good, **wrong})  # type: ignore[arg-type]

    def test_names_are_unlike(self) -> None:
        settings = {"issuer": "http://127.0.0.1:9", "client_id": "api", "client_secret": "s"}
        with self.assertLogs("curfew_verify"), create_verifier(**settings) as a, create_verifier(**settings) as b:
            self.assertNotEqual(a._subscriber, b._subscriber)
            for one in (a, b):
                self.assertRegex(one._subscriber, r"^[A-Za-z0-9._-]{14,64}$")
            with self.assertRaises(VerifyError) as caught:
                a.verify(kit.Signer().sign(kit.claims_of()))
            self.assertEqual(caught.exception.code, "unavailable")


if __name__ == "__main__":
    unittest.main()
