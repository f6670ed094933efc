"""JSON as we take it: one object, nothing ambiguous, nothing that a database can't store.

Python's reader accepts repeated members (the last wins), NaN, numbers of any length and lone surrogates, and gives up with a
RecursionError on deep nesting. Each of these is a 400 with its reason here, before anything else sees the body.
"""

from __future__ import annotations

import json
from typing import Any

from headwater.api.errors import bad_body

DEPTH_MAX = 64
DIGITS_MAX = 400
"""Digits of one number. The largest documented number has 20; Python reads at most 4300."""


def read_object(body: bytes) -> dict[str, Any]:
    """The object of a body; an empty body or `null` is an empty object, as the official SDK sends both for *no fields*.

    Raises:
        ServiceError: 400 FDI.3002 with the reason.
    """
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise bad_body(f"The body is not UTF-8 at byte {error.start}.") from error
    if not text:
        return {}
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
    except RecursionError as error:
        raise bad_body(f"The body nests deeper than {DEPTH_MAX} levels.") from error
    except json.JSONDecodeError as error:
        raise bad_body(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_body("The body must be a JSON object.")
    _check(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise bad_body("The body has an object in which a member stands twice.")
    return members


def _constant(name: str) -> Any:
    raise bad_body(f"The body is not JSON: {name} is not a JSON number.")


def _integer(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise bad_body(f"The body has a number of more than {DIGITS_MAX} digits.")
    return int(digits)


def _check(value: dict[str, Any]) -> None:
    """Walk the whole value once, without recursion."""
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str):
                _check_text(item)
        if not below:
            return
        level = below
    raise bad_body(f"The body nests deeper than {DEPTH_MAX} levels.")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise bad_body("The body has a text with a NUL character.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise bad_body("The body has a text with half of a surrogate pair.") from error
