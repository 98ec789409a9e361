"""What the tests share: keys, tokens, a clock that they set."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from curfew_verify._clock import SECOND, Moment
from curfew_verify._http import RequestError
from curfew_verify._issuer import Document, Issuer
from curfew_verify._knowledge import Knowledge
from curfew_verify._verifier import Verifier

ISSUER = "https://id.example.com"
AUDIENCE = "https://api.example.com"
NOW = 1795209600

USER, OTHER_USER = "0197a1b2-0000-7000-8000-000000000001", "0197a1b2-0000-7000-8000-000000000002"
DEVICE, OTHER_DEVICE = "0197a1b2-0001-7000-8000-000000000001", "0197a1b2-0001-7000-8000-000000000002"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Signer:
    """An ES256 key that signs what it is given."""

    def __init__(self, kid: str = "es-1") -> None:
        self.kid, self.key = kid, ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        self.jwk = {
            "kty": "EC", "use": "sig", "alg": "ES256", "kid": kid, "crv": "P-256",
            "x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big")),
        }  # fmt: skip

    def sign(self, claims: Any, **header: Any) -> str:
        head = b64(json.dumps({"typ": "at+jwt", "alg": "ES256", "kid": self.kid, **header}).encode())
        signed = f"{head}.{b64(claims if isinstance(claims, bytes) else json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def claims_of(**changes: Any) -> dict[str, Any]:
    """What a user's token says."""
    claims = {
        "iss": ISSUER, "sub": USER, "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW, "jti": "j", "client_id": "web",
        "scope": "orders profile", "device_id": DEVICE, "rid": "r", "iat_us": NOW * SECOND,
    }  # fmt: skip
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


class Clock:
    """Both clocks, in seconds: they go on only when they are told to."""

    def __init__(self, wall: float = NOW) -> None:
        self.mono, self.wall = 0.0, wall

    def __call__(self) -> Moment:
        return Moment(round(self.mono * SECOND), round(self.wall * SECOND))

    def go(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds


class Told(Issuer):
    """An issuer that is not asked over the network: it answers what the test says."""

    def __init__(self) -> None:
        super().__init__(ISSUER, "api", "secret")
        self.introspection: str | None = None  # active, inactive or down
        self.asked = 0

    def introspect(self, token: str) -> bool:
        self.asked += 1
        if self.introspection not in ("active", "inactive"):
            raise RequestError("nobody there")
        return self.introspection == "active"

    def keys(self, etag: str) -> Document | None:
        raise RequestError("nobody there")


def verifier(clock: Clock, bound: float = 30, when_stale: str = "introspect", issuer: Issuer | None = None) -> Verifier:
    """A verifier whose threads are not started: the test feeds it."""
    knowledge = Knowledge(round(bound * SECOND), clock)
    made = Verifier(issuer or Told(), knowledge, AUDIENCE, "test", when_stale, 10_000)  # type: ignore[arg-type]
    made._asleep = False
    return made
