"""JSON as strict as RFC 8259 and RFC 7519 section 4 ask for."""

import json
from typing import Any, Final


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member that is there twice")
    return members


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _integer(digits: str) -> int | float:
    """A number that is longer than every double is one that is too large, whoever reads it."""
    return int(digits) if len(digits) < 400 else float(digits)


# Made once: making one takes longer than reading a token. The second one takes numbers of any length, and takes longer.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_number)
_PATIENT: Final = json.JSONDecoder(object_pairs_hook=_members, parse_int=_integer, parse_constant=_no_number)
# How deep objects and arrays may be nested, the outermost one being the first.
MAX_DEPTH: Final = 32
_EXACT: Final = 1 << 53


def read_object(raw: bytes) -> dict[str, Any]:
    """Reads a JSON object. ValueError: it is none, has a member twice, is no UTF-8, or is nested too deeply."""
    text = raw.decode()
    try:
        # White space before or after it is rare, and looking for it takes a while.
        value, end = _DECODER.raw_decode(text) if text.startswith("{") else (None, -1)
        if end != len(text):
            value = _DECODER.decode(text)
    except ValueError:
        value = _patiently(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if type(value) is not dict:
        raise ValueError("no object")
    # Looking for one letter is fast, counting and looking for two are not: most objects have nothing of either.
    if (text.find("{", 1) >= 0 or "[" in text) and text.count("{") + text.count("[") > MAX_DEPTH < _depth(value):
        raise ValueError("nested too deeply")
    if "\\" in text and "\\u" in text:
        # Half a pair of surrogates (RFC 7493 section 2.1) is no UTF-8, which shows when it is written.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _patiently(text: str) -> Any:
    try:
        return _PATIENT.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def whole(value: Any) -> int | None:
    """A whole number that a double holds exactly, by its value: 1.5e3 is one. None: it is something else."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and -_EXACT < value < _EXACT else None


def _depth(value: Any) -> int:
    """How deep it is nested."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [one for outer in level for one in (outer.values() if type(outer) is dict else outer)]
        level = [one for one in inner if type(one) is dict or type(one) is list]
    return depth
