"""Which types hold every value of another one as it is, and in the same text: so that following goes on where a column becomes wider.

Asked only of sources that tell a column by its name and its type in words (`Column.number` 0): MariaDB's and MySQL's log says which
statement changed the column, so what the new type made of old values is known. The words are those of `sources/mysql/types.py`.
"""

from __future__ import annotations

import re
from functools import lru_cache

_TYPE = re.compile(r"([a-z]+)(\d*)(?:\((.*)\))?(?: (.+))?", re.DOTALL)
_LABEL = re.compile(r"'(?:[^']|'')*'")
BYTES_PER_CHARACTER = {
    **dict.fromkeys(
        ("binary", "latin1", "latin2", "latin5", "latin7", "ascii", "cp1250", "cp1251", "cp1256", "cp1257", "koi8r", "greek"), 1
    ),
    **dict.fromkeys(("gbk", "gb2312", "big5", "sjis", "cp932", "euckr", "ucs2"), 2),
    **dict.fromkeys(("utf8", "utf8mb3", "ujis", "eucjpms"), 3),
    **dict.fromkeys(("utf8mb4", "utf16", "utf16le", "utf32", "gb18030"), 4),
}
"""The most that a character takes, of the sets that are met; lengths of texts are told in bytes."""
CONTAINED = frozenset({"utf8", "utf8mb3", "latin1", "ascii"})
"""Character sets whose characters utf8mb4 has, every one."""


@lru_cache(maxsize=1024)
def widened(before: str, now: str) -> bool:
    """Whether every value of the type `before` is the same, to the letter of its text, under the type `now`; both as `Column.type_id`."""
    was, now_is = _TYPE.fullmatch(before), _TYPE.fullmatch(now)
    if was is None or now_is is None:
        return False
    (kind, size, inside, charset), (kind_now, size_now, inside_now, charset_now) = was.groups(), now_is.groups()
    if kind == kind_now == "int":
        return _whole(int(size), charset == "unsigned", int(size_now), charset_now == "unsigned")
    if kind == kind_now == "decimal":
        (digits, scale), (digits_now, scale_now) = inside.split(","), inside_now.split(",")
        return scale == scale_now and int(digits) <= int(digits_now)
    if kind == kind_now and kind in ("enum", "set"):
        labels = _LABEL.findall(inside)
        return _LABEL.findall(inside_now)[: len(labels)] == labels
    return kind in ("char", "varchar", "blob") and _text(kind, int(inside), charset, kind_now, inside_now, charset_now)


def _whole(size: int, unsigned: bool, size_now: int, unsigned_now: bool) -> bool:
    return size <= size_now if unsigned == unsigned_now else unsigned and size < size_now


def _text(kind: str, length: int, charset: str, kind_now: str, inside_now: str | None, charset_now: str) -> bool:
    if charset != charset_now and not (charset in CONTAINED and charset_now == "utf8mb4"):
        return False
    if kind == kind_now == "blob":
        return length <= int(inside_now or 0)
    if kind == "varchar" and kind_now == "blob":
        return bool(length * 4 < 256 ** int(inside_now or 0))
    if kind != kind_now or (kind == "char" and charset == "binary"):  # those are padded to their length
        return False
    per, per_now = (BYTES_PER_CHARACTER.get(one, 4) for one in (charset, charset_now))
    return length // per <= int(inside_now or 0) // per_now
