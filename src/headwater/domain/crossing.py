"""Which kinds of values may be joined where MySQL or MariaDB are on either side: `crossing`.

A rule for each form of the target says what of the source would be changed without a word. What does not fit is not asked here: the
target refuses it row by row (too long, out of range, no such label, a zero date, NaN, a day before the target's first).
"""

from __future__ import annotations

from collections.abc import Callable

from headwater.domain.kinds import Form, Kind

FLOAT_EXACT = 1 << 24
DOUBLE_EXACT = 1 << 53
"""Whole numbers up to here are exact in a float, in a double."""
DECIMALS_MAX = 30
"""Decimals that MySQL's widest type keeps. One without a limit has no more in practice; the target refuses a row that has."""

Rule = Callable[[Kind, Kind], str | None]

_UNREAD = "does not read"


def crossing(source: Kind, target: Kind) -> str | None:
    """None where a column of the kind `source` may fill one of the kind `target`; otherwise the reason why not, as half a sentence."""
    rule = _RULES.get(target.form)
    reason = rule(source, target) if rule else _UNREAD
    return f"{target.spelling} does not read the values of {source.spelling}" if reason is _UNREAD else reason


def _integer(source: Kind, target: Kind) -> str | None:
    if source.form in ("integer", "year"):
        return "negative numbers would be read as others" if target.name == "oid" and source.low < 0 else None
    if source.form == "decimal":
        return None if source.scale is not None and source.scale <= 0 else "decimals would be lost"
    if source.form in ("float", "double"):
        return "decimals would be lost"
    if source.form == "boolean":
        return None if target.name == "tinyint" else _UNREAD
    return "binary digits would be read as decimal ones" if source.form == "bits" else _UNREAD


def _decimal(source: Kind, target: Kind) -> str | None:
    if source.form in ("integer", "year"):
        return None if target.scale is None or target.scale >= 0 else "whole numbers would be rounded"
    if source.form == "decimal":
        return _scaled(source, target)
    if source.form in ("float", "double"):
        return None if target.scale is None else "numbers would be rounded"
    return "binary digits would be read as decimal ones" if source.form == "bits" else _UNREAD


def _scaled(source: Kind, target: Kind) -> str | None:
    needed = DECIMALS_MAX if source.scale is None and target.mysql else source.scale
    if target.scale is None or (needed is not None and needed <= target.scale):
        return None
    return f"decimals beyond the {target.scale} of the target would be rounded"


def _float(source: Kind, target: Kind) -> str | None:
    del target
    if source.form in ("integer", "year"):
        return None if max(-source.low, source.high) <= FLOAT_EXACT else "large whole numbers would be rounded"
    if source.form in ("decimal", "double"):
        return "numbers would be rounded"
    return None if source.form == "float" else _UNREAD


def _double(source: Kind, target: Kind) -> str | None:
    del target
    if source.form in ("integer", "year"):
        return None if max(-source.low, source.high) <= DOUBLE_EXACT else "large whole numbers would be rounded"
    if source.form == "decimal":
        return "numbers would be rounded"
    return None if source.form in ("float", "double") else _UNREAD


def _boolean(source: Kind, target: Kind) -> str | None:
    del target
    truth = source.name == "tinyint" or (source.form == "bits" and source.length == 1)
    return None if truth or source.form == "boolean" else _UNREAD


def _bits(source: Kind, target: Kind) -> str | None:
    if source.form == "boolean":
        return None if target.mysql and target.length == 1 else _UNREAD
    if source.form != "bits":
        return _UNREAD
    if source.mysql and target.mysql:
        return None  # numbers there, whatever their width
    if target.padded:
        return None if source.padded and source.length == target.length else "it takes exactly as many bits as it has"
    fits = target.length is None or (source.length is not None and source.length <= target.length)
    return None if fits else "its values would never fit"


_MAY_END_IN_BLANKS = frozenset({"text", "enum", "set", "json", "other"})


def _text(source: Kind, target: Kind) -> str | None:
    if source.form in ("bytes", "geometry"):
        return "texts would show the bytes' hexadecimal digits"
    if target.name == "name" and source.name != "name":
        return "texts would be cut after 63 bytes"
    if not target.padded:
        return None
    if source.form == "text" and source.padded:
        cut = target.mysql and (source.length or 1) > (target.length or 1)  # line feeds at the end too, without a word
        return "blanks and line feeds at the end of longer texts would be cut" if cut else None
    if target.mysql:
        return "blanks at the end of texts would be lost" if source.form in _MAY_END_IN_BLANKS else None
    return "shorter texts would be filled up with blanks"


def _bytes(source: Kind, target: Kind) -> str | None:
    if source.form not in ("bytes", "geometry"):
        return "characters are not bytes" if source.form == "text" else _UNREAD
    if target.padded:
        same = source.form == "bytes" and source.padded and source.length == target.length
        return None if same else "shorter values would be filled up with zero bytes"
    never = source.padded and source.length is not None and target.length is not None and source.length > target.length
    return "its values would never fit" if never else None


def _geometry(source: Kind, target: Kind) -> str | None:
    if source.form == "bytes":
        return None
    if source.form != "geometry":
        return _UNREAD
    return None if "geometry" in (source.name, target.name) or source.name == target.name else _UNREAD


def _date(source: Kind, target: Kind) -> str | None:
    del target
    if source.form in ("stamp", "instant"):
        return "the time of day would be lost"
    return None if source.form == "date" else _UNREAD


def _stamp(source: Kind, target: Kind) -> str | None:
    if source.form == "date":
        return None
    return _seconds(source, target) if source.form in ("stamp", "instant") else _UNREAD


def _time(source: Kind, target: Kind) -> str | None:
    if source.form in ("stamp", "instant"):
        return "the date would be lost"
    return _seconds(source, target) if source.form in ("time", "interval") else _UNREAD


def _interval(source: Kind, target: Kind) -> str | None:
    if source.form not in ("time", "interval"):
        return _UNREAD
    if target.name != "interval" and not target.name.endswith("to second"):
        return f"all but the {target.name.removeprefix('interval ')} would be lost"
    return _seconds(source, target)


def _seconds(source: Kind, target: Kind) -> str | None:
    return None if source.precision <= target.precision else f"seconds would be rounded to {target.precision} decimals"


def _reads(*forms: Form) -> Rule:
    return lambda source, _: None if source.form in forms else _UNREAD


def _other(source: Kind, target: Kind) -> str | None:
    return None if target.name == "xml" and source.form == "text" else _UNREAD


_RULES: dict[Form, Rule] = {
    "integer": _integer,
    "year": _reads("year", "integer"),
    "decimal": _decimal,
    "float": _float,
    "double": _double,
    "boolean": _boolean,
    "bits": _bits,
    "text": _text,
    "bytes": _bytes,
    "geometry": _geometry,
    "date": _date,
    "stamp": _stamp,
    "instant": _stamp,
    "time": _time,
    "interval": _interval,
    "json": _reads("json", "text"),
    "enum": _reads("enum", "text"),
    "set": _reads("set", "text"),
    "uuid": _reads("uuid", "text"),
    "inet": _reads("inet", "inet4", "inet6"),
    "inet4": _reads("inet4", "inet"),
    "inet6": _reads("inet6", "inet"),
    "other": _other,
}
"""By the form of the target."""
