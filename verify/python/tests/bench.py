"""What verifying costs: ``python3 -m tests.bench``. Medians; what is compared is measured in turns, in one run.

The turns are short, and a ratio is also given of the tenth of them that was disturbed least: others may be using the
machine. The bare signature check is cryptography's alone, on a signature in its form; everything else is around it.
"""

import gc
import json
import platform
import random
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from curfew_verify._cache import Cache
from curfew_verify._clock import now
from curfew_verify._index import Instant, ValidFrom
from curfew_verify._issuer import Document
from curfew_verify._knowledge import Stream
from curfew_verify._verifier import Verifier

from . import kit
from .vectors import heartbeat

ROUNDS, CALLS, TOKENS = 1000, 20, 400
ENTRIES = 1_000_000


def made(jwk: dict[str, Any]) -> Verifier:
    verifier = kit.verifier(kit.Clock())
    verifier._knowledge.now = now
    verifier._keys.take(Document({"keys": [jwk]}, ""))
    Stream(verifier._knowledge).take("heartbeat", heartbeat(0, time.time()))
    return verifier


def in_turns(**calls: Callable[[int], Any]) -> dict[str, list[float]]:
    """Seconds of CPU a call of each, round by round."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    for number in range(ROUNDS):
        for name, call in calls.items():
            began = time.process_time()
            for n in range(number * CALLS, (number + 1) * CALLS):
                call(n)
            took[name].append((time.process_time() - began) / CALLS)
    return took


def ratio(a: list[float], b: list[float]) -> str:
    """The median of the ratios of neighbours, and the ratio where both were disturbed least."""
    least = statistics.quantiles(a, n=10)[0] / statistics.quantiles(b, n=10)[0]
    return f"{statistics.median(x / y for x, y in zip(a, b, strict=True)):.2f} times (undisturbed {least:.2f})"


class Key:
    """A key of an algorithm: signs, and checks barely."""

    def __init__(self, alg: str) -> None:
        self.alg = alg
        if alg == "ES256":
            self.key: Any = ec.generate_private_key(ec.SECP256R1())
            n = self.key.public_key().public_numbers()
            members = {
                "kty": "EC",
                "crv": "P-256",
                "x": kit.b64(n.x.to_bytes(32, "big")),
                "y": kit.b64(n.y.to_bytes(32, "big")),
            }
        elif alg == "EdDSA":
            self.key = ed25519.Ed25519PrivateKey.generate()
            raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            members = {"kty": "OKP", "crv": "Ed25519", "x": kit.b64(raw)}
        else:
            self.key = rsa.generate_private_key(65537, 2048)
            n = self.key.public_key().public_numbers()
            members = {"kty": "RSA", "n": kit.b64(n.n.to_bytes(256, "big")), "e": kit.b64(n.e.to_bytes(3, "big"))}
        self.jwk = {**members, "use": "sig", "alg": alg, "kid": "k"}
        self.public = self.key.public_key()

    def sign(self, message: bytes) -> bytes:
        if self.alg == "ES256":
            return self.key.sign(message, ec.ECDSA(hashes.SHA256()))  # type: ignore[no-any-return]
        if self.alg == "EdDSA":
            return self.key.sign(message)  # type: ignore[no-any-return]
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())  # type: ignore[no-any-return]

    def token(self, n: int) -> tuple[str, bytes, bytes]:
        """A token, what is signed of it, and the signature as the library takes it."""
        claims = kit.claims_of(jti=str(n), device_id=str(uuid.UUID(int=n)), exp=int(time.time()) + 3600, iat_us=1 << 50)
        head = {"typ": "at+jwt", "alg": self.alg, "kid": "k"}
        signed = ".".join(kit.b64(json.dumps(part).encode()) for part in (head, claims)).encode()
        signature = self.sign(signed)
        last = signature
        if self.alg == "ES256":
            r, s = decode_dss_signature(signature)
            last = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return f"{signed.decode()}.{kit.b64(last)}", signed, signature

    def bare(self, signed: bytes, signature: bytes) -> None:
        if self.alg == "ES256":
            self.public.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        elif self.alg == "EdDSA":
            self.public.verify(signature, signed)
        else:
            self.public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())


def new_tokens(alg: str) -> None:
    key = Key(alg)
    verifier = made(key.jwk)
    verifier._cache = Cache(2)  # so that each is new every time, in memory that the process has already
    tokens = [key.token(n) for n in range(TOKENS)]
    took = in_turns(
        bare=lambda n: key.bare(*tokens[n % TOKENS][1:]), new=lambda n: verifier.verify(tokens[n % TOKENS][0])
    )
    bare, new = (statistics.median(took[name]) * 1e6 for name in ("bare", "new"))
    print(f"a new token, {alg}: {new:.1f} µs, bare {bare:.1f} µs, {ratio(took['new'], took['bare'])}")


def seen_tokens() -> None:
    key = Key("ES256")
    few, many = made(key.jwk), made(key.jwk)
    index, at = many._knowledge.index, Instant(0, 0)
    random.seed(1)
    before = resident()
    for n in range(ENTRIES):
        index.apply(
            "device", str(uuid.UUID(int=random.getrandbits(128))), ValidFrom.of(1 << 50, (1 << 50) + 300_000_000, at)
        )
    grown = resident() - before
    tokens = [key.token(n)[0] for n in range(4000)]
    for token in tokens:
        few.verify(token)
        many.verify(token)
    took = in_turns(few=lambda n: few.verify(tokens[n % 4000]), many=lambda n: many.verify(tokens[n % 4000]))
    a, b = (statistics.median(took[name]) * 1e6 for name in ("few", "many"))
    print(f"seen before: {a:.2f} µs; with {ENTRIES:,} entries {b:.2f} µs, {ratio(took['many'], took['few'])}")
    print(f"an index entry: {grown / ENTRIES:.0f} bytes")


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def main() -> None:
    print(f"Python {platform.python_version()}, {sys.platform} {platform.machine()}")
    seen_tokens()
    for alg in ("ES256", "EdDSA", "RS256"):
        new_tokens(alg)


if __name__ == "__main__":
    main()
