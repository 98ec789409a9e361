"""The issuer's published keys, and the signatures that they made."""

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from jwt.algorithms import Algorithm, get_default_algorithms
from jwt.exceptions import InvalidKeyError

from ._errors import VerifyError
from ._http import REQUEST_TIMEOUT, RequestError
from ._issuer import Document, Issuer
from ._token import ALGORITHMS, Header, decode

KEYS_MAX_AGE: Final = 300.0
# The least time between two fetches for key ids that are not known: a stream of forged ones costs the issuer no more.
COOL_DOWN: Final = 10.0
_RETRY_EMPTY: Final = 1.0  # the same while there are no keys at all
_MAX_HEADERS: Final = 64

_log = logging.getLogger("curfew_verify")
_ALGORITHMS: Final[dict[str, Algorithm]] = {
    name: algorithm for name, algorithm in get_default_algorithms().items() if name in ALGORITHMS
}


# A module that a thread is just importing when the process forks can never be imported in the child. So what is
# imported late (this, and in _http encodings.idna) is imported now.
default_backend()

# Made once: making them takes a while, beside a signature check. The digest is hashlib's, which takes a fifth of the
# time that cryptography's own takes.
_sha256: Final = hashlib.sha256
_SHA256: Final = Prehashed(hashes.SHA256())
_ECDSA: Final = ec.ECDSA(_SHA256)
_PKCS1: Final = padding.PKCS1v15()


class Key(NamedTuple):
    """A public key with the one algorithm it is for."""

    alg: str
    public: Any
    source: dict[str, Any]  # the members that it was read from

    def check(self, signed: bytes, signature: bytes) -> None:
        """Whether the signature is right, RFC 7518 sections 3.3 and 3.4, RFC 8037 section 3.1."""
        try:
            if self.alg == "ES256":
                if len(signature) != 64:
                    raise InvalidSignature
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                self.public.verify(encode_dss_signature(r, s), _sha256(signed).digest(), _ECDSA)
            elif self.alg == "RS256":
                self.public.verify(signature, _sha256(signed).digest(), _PKCS1, _SHA256)
            else:
                self.public.verify(signature, signed)
        except InvalidSignature:
            raise VerifyError("signature") from None


def parse_keys(document: Mapping[str, Any]) -> dict[str, Key]:
    """Reads a key set, RFC 7517 section 5, and passes over the keys that it does not understand."""
    listed = document.get("keys")
    keys: dict[str, Key] = {}
    for jwk in listed if isinstance(listed, list) else ():
        # What is not a key of the kinds that we take fails in one of these ways.
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, InvalidKeyError):
            if jwk.get("use", "sig") == "sig" and isinstance(jwk["kid"], str) and jwk["kid"] and _fits(jwk):
                algorithm = _ALGORITHMS[jwk["alg"]]
                public = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}
                keys[jwk["kid"]] = Key(jwk["alg"], algorithm.from_jwk(public), public)
    if not keys:
        raise RequestError("the key set holds no key that signs access tokens")
    return keys


def _fits(jwk: Mapping[str, Any]) -> bool:
    """Whether a key is of a kind that we take, its numbers in their one form."""

    def size(name: str) -> int:
        return len(decode(jwk[name].encode()))

    match jwk["kty"], jwk["alg"]:
        case "EC", "ES256":
            return jwk["crv"] == "P-256" and size("x") == size("y") == 32
        case "OKP", "EdDSA":
            return jwk["crv"] == "Ed25519" and size("x") == 32
        case "RSA", "RS256":
            return 256 <= size("n") <= 1024 and 1 <= size("e") <= 4
    return False


class Flight:
    """A fetch that is under way; the others wait for it."""

    def __init__(self) -> None:
        self.landed = threading.Event()


class KeySet:
    """Keeps the last good set when a fetch fails."""

    def __init__(
        self, issuer: Issuer, withdrawn: Callable[[], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer, self._withdrawn, self._monotonic = issuer, withdrawn, monotonic
        self._keys: dict[str, Key] | None = None
        self._headers: dict[bytes, Key] = {}  # by the header's exact text: it need not be parsed again
        self._tried = float("-inf")  # when a fetch was begun last
        self._etag = ""
        self.fetches = 0
        self._lock = threading.Lock()
        self._flight: Flight | None = None

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._flight, self._tried = None, float("-inf")  # what the parent has asked for comes to the parent

    def seen(self, head: bytes) -> Key | None:
        """The key of a header that was seen before."""
        return self._headers.get(head)

    def named(self, head: bytes, header: Header) -> Key | None:
        """The key that a header names; None if it is not known. VerifyError: it is for another algorithm."""
        with self._lock:
            key = None if self._keys is None else self._keys.get(header.kid)
            if key is None:
                return None
            if key.alg != header.alg:
                raise VerifyError("unknown_key")
            if len(self._headers) < _MAX_HEADERS:
                self._headers[head] = key
        return key

    def unknown(self) -> VerifyError:
        """Why a token is refused whose key is not known."""
        return VerifyError("unknown_key" if self._keys is not None else "unavailable")

    def due(self, age: float = COOL_DOWN) -> bool:
        """Whether refresh would do, or wait for, anything."""
        return self._flight is not None or self._monotonic() - self._tried >= age

    def refresh(self, age: float = COOL_DOWN) -> None:
        """Fetches the keys unless that was tried less than age ago. Only one fetch is under way."""
        with self._lock:
            if not self.due(age):
                return
            flight, mine = self._flight, False
            if flight is None:
                flight, mine = Flight(), True
                self._flight, self._tried = flight, self._monotonic()
        if not mine:
            flight.landed.wait(2 * REQUEST_TIMEOUT)  # the metadata, and the keys
            return
        failed = True
        try:
            self._fetch()
            failed = False
        except RequestError as err:
            if not self._issuer.http.closed:
                _log.warning("the issuer's keys could not be fetched: %s", err)
        finally:
            with self._lock:
                self._flight = None
                if failed and self._keys is None:  # nothing to keep: try again soon
                    self._tried = self._monotonic() + _RETRY_EMPTY - COOL_DOWN
            flight.landed.set()

    def refresh_old(self) -> None:
        """Fetches the keys when they have become old; at once while there are none."""
        self.refresh(KEYS_MAX_AGE if self._keys is not None else 0.0)

    def _fetch(self) -> None:
        self.fetches += 1
        document: Document | None = self._issuer.keys(self._etag)
        if document is not None:
            self.take(document)

    def take(self, document: Document) -> None:
        """Puts another key set in the place of the one before."""
        keys = parse_keys(document.members)
        with self._lock:
            before = self._keys or {}
            self._keys, self._etag = keys, document.etag
            self._headers = {}
        if any(kid not in keys or keys[kid].source != key.source for kid, key in before.items()):
            self._withdrawn()
