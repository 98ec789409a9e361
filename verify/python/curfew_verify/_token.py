"""The strict form of an access token, RFC 9068, and what it says."""

import binascii
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

from ._clock import SECOND
from ._errors import VerifyError
from ._json import read_object, whole

# Bounds what is looked at.
MAX_TOKEN: Final = 8 << 10
_MAX_DATE: Final = 253_402_300_799  # the end of the year 9999
ALGORITHMS: Final = frozenset({"ES256", "EdDSA", "RS256"})

# base64url to base64; what only the latter has becomes what neither has.
_ALPHABET: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
# By the length's rest: the padding, and the last letters that have no spare bits.
_PADDING: Final = (b"", None, b"==", b"=")
_LAST: Final = (None, None, frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))


def decode(text: bytes) -> bytes:
    """base64url in its one form: no padding, no line breaks, no spare bits. ValueError otherwise."""
    rest = len(text) & 3
    padding, last = _PADDING[rest], _LAST[rest]
    if padding is None or (last is not None and text[-1] not in last):
        raise ValueError("no base64url")
    return binascii.a2b_base64(text.translate(_ALPHABET) + padding, strict_mode=True)


class ReadOnly(dict[str, Any]):
    """A dictionary that stays as it was made, in every framework's eyes a dictionary."""

    __slots__ = ()

    def _fixed(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("claims are shared and cannot be changed; dict(claims) is a copy that can")

    __setitem__ = __delitem__ = __ior__ = _fixed  # type: ignore[assignment]
    clear = pop = popitem = setdefault = update = _fixed  # type: ignore[assignment]

    def __reduce__(self) -> Any:  # pickled and deeply copied as what it says
        return dict, (dict(self),)


class Claims(ReadOnly):
    """What an access token says, named as in the token (RFC 9068 section 2.2, and Curfew's own).

    They are shared between calls, so they cannot be changed; ``dict(claims)`` is a copy that can.
    """

    __slots__ = ("_audience", "_client_id", "_device_id", "_expires", "_iat_us", "_issued", "_sub")

    # For this package; what is in the dictionary decides nothing.
    _iat_us: int
    _client_id: str
    _device_id: str  # empty in a client's own token
    _sub: str
    _expires: int  # microseconds
    _issued: int  # microseconds: iat, or nbf if that is later
    _audience: tuple[str, ...]

    @property
    def sub(self) -> str:
        """The user's id; of a client's own token the client's."""
        return self["sub"]  # type: ignore[no-any-return]

    @property
    def client_id(self) -> str:
        return self["client_id"]  # type: ignore[no-any-return]

    @property
    def device_id(self) -> str | None:
        """The device, which a client's own token does not have."""
        return self.get("device_id") or None

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(s for s in (self.get("scope") or "").split(" ") if s)

    def has_scope(self, scope: str) -> bool:
        return scope in self.scopes


_NESTED: Final = frozenset({list, dict})


def _freeze(value: Any) -> Any:
    if type(value) is list:
        return tuple(map(_freeze, value))
    if type(value) is dict:
        return ReadOnly((name, _freeze(one)) for name, one in value.items())
    return value


class Header(NamedTuple):
    """What a token's header says, RFC 9068 section 4."""

    typ: str
    alg: str
    kid: str

    def check(self) -> None:
        """Whether it is an access token's, signed in a way that we take."""
        if self.typ.lower() not in ("at+jwt", "application/at+jwt") or not self.typ.isascii():
            raise VerifyError("type")
        if not self.kid or self.alg not in ALGORITHMS:
            raise VerifyError("unknown_key")


def parse_header(head: bytes) -> Header:
    """ValueError: it is malformed."""
    members = read_object(decode(head))
    # Also null: RFC 7515 section 4.1.11 wants a list of what we would have to understand.
    if "crit" in members:
        raise ValueError("something critical")
    typ, alg, kid = [members.get(name, "") for name in Header._fields]
    if type(typ) is not str or type(alg) is not str or type(kid) is not str:
        raise ValueError("no string")
    return Header(typ, alg, kid)


def _refuse() -> NoReturn:
    raise VerifyError("claims")


def _micros(value: Any) -> int:
    """A NumericDate in microseconds."""
    if (type(value) is not int and type(value) is not float) or not 0 <= value <= _MAX_DATE:
        _refuse()
    return int(value * SECOND)


def _stamp(value: Any) -> int:
    """A number of microseconds that orders."""
    stamp = whole(value)
    if stamp is None or stamp < 1:
        _refuse()
    return stamp


def _audience(value: Any) -> tuple[str, ...]:
    """A string or several, RFC 7519 section 4.1.3."""
    if type(value) is str:
        return (value,)
    if type(value) is not list or not value or any(type(one) is not str for one in value):
        _refuse()
    return tuple(value)


def parse_body(body: bytes) -> dict[str, Any]:
    """ValueError: it is malformed."""
    return read_object(decode(body))


def read_claims(members: dict[str, Any]) -> Claims:
    """Reads what a token says whose signature was right."""
    get = members.get
    iss, sub, jti, client_id = get("iss", ""), get("sub", ""), get("jti", ""), get("client_id", "")
    if not (type(iss) is type(sub) is type(jti) is type(client_id) is str and iss and sub and jti and client_id):
        _refuse()
    aud, iat_us = _audience(get("aud")), _stamp(get("iat_us"))
    exp, issued = _micros(get("exp")), _micros(get("iat"))
    device_id = ""
    if "device_id" in members:
        device_id = members["device_id"]
        if type(device_id) is not str or not device_id:
            _refuse()
    if "nbf" in members:
        issued = max(issued, _micros(members["nbf"]))
    if type(get("scope", "")) is not str or type(get("rid", "")) is not str:
        _refuse()
    if not _NESTED.isdisjoint(map(type, members.values())):  # type: ignore[arg-type]
        members = {name: _freeze(value) for name, value in members.items()}
    claims = Claims(members)
    claims._iat_us, claims._client_id, claims._device_id, claims._sub = iat_us, client_id, device_id, sub
    claims._expires, claims._issued = exp, issued
    claims._audience = aud
    return claims


class Subjects(NamedTuple):
    """What the one rule looks at."""

    iat_us: int  # the issue time: an ordering stamp
    client_id: str
    device_id: str  # empty in a client's own token
    sub: str

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> "Subjects":
        """From claims that somebody else has read. VerifyError: what the rule looks at is not there."""
        if isinstance(claims, Claims):
            return cls(claims._iat_us, claims._client_id, claims._device_id, claims._sub)
        iat_us = _stamp(claims.get("iat_us"))
        client_id, sub, device_id = claims.get("client_id"), claims.get("sub"), claims.get("device_id")
        if not isinstance(client_id, str) or not client_id or not isinstance(sub, str) or not sub:
            _refuse()
        if device_id is not None and (not isinstance(device_id, str) or not device_id):
            _refuse()
        return cls(iat_us, client_id, device_id or "", sub)
