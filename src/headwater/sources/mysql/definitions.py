"""What a column is made by MODIFY and CHANGE, and whether that left the values that stood there as they were. Pure.

Such a statement converts what stands in the column without a word in the log. Where the new type holds every old value as it is, nothing
was converted; so much the definition tells. With a word in it that is not known here, or one that gives values to rows, it can't be told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headwater.domain.tables import Column
from headwater.domain.widening import BYTES_PER_CHARACTER, widened
from headwater.sources.mysql.types import BLOBS, INTEGERS

STRICT_MODES = 1 << 21 | 1 << 22
"""STRICT_TRANS_TABLES and STRICT_ALL_TABLES: a value that the column does not take fails the statement."""
NO_AUTO_VALUE_ON_ZERO = 1 << 19

_SAME = {"INTEGER": "INT", "DEC": "DECIMAL", "NUMERIC": "DECIMAL", "FIXED": "DECIMAL", "CHARACTER": "CHAR", "INT1": "TINYINT",
         "INT2": "SMALLINT", "INT3": "MEDIUMINT", "INT4": "INT", "INT8": "BIGINT", "BOOL": "TINYINT", "BOOLEAN": "TINYINT"}  # fmt: skip
_PLAIN = frozenset({"FLOAT", "DOUBLE", "DATE", "YEAR", "JSON"})
_TIMES = frozenset({"TIME", "DATETIME", "TIMESTAMP"})
_PASSED = {"COMMENT": 1, "AFTER": 1, "FIRST": 0, "COLLATE": 1, "VISIBLE": 0, "INVISIBLE": 0, "SIGNED": 0, "KEY": 0, "UNIQUE": 0, "NULL": 0}
"""Words that change no value -> how many come along."""
_NUMBER = re.compile(r"[-+]|\d+(?:\.\d*)?|\.")


@dataclass(frozen=True)
class Definition:
    """A column's new type, as `types.py` spells it but for texts, whose `charset` may be left to the table: `kind(characters)` or
    `kind(bytes)`. `not_null`, `numbers` (AUTO_INCREMENT): what else may have given values to rows."""

    kind: str
    size: str
    charset: str
    not_null: bool
    numbers: bool
    sql_mode: int

    def keeps(self, before: Column) -> bool:
        """Whether every value of the column as it was before is what it was."""
        strict = bool(self.sql_mode & STRICT_MODES)
        if self.not_null and not strict:
            return False  # a NULL becomes 0 or an empty text
        spelled = self._spelled(before.type_id, strict=strict)
        same = spelled == before.type_id
        if self.numbers and same and not self.sql_mode & NO_AUTO_VALUE_ON_ZERO:
            return False  # a 0 gets the next number, where the column did not number its rows before
        return same or widened(before.type_id, spelled)

    def _spelled(self, before: str, *, strict: bool) -> str:
        """As in `Column.type_id`; empty where that can't be told. A charset that is not told is the table's own: under strict mode no
        character can have been lost in it, so the old one does as well."""
        if self.kind not in ("char", "varchar", "blob") or self.charset == "binary":
            return f"{self.kind}{self.size}{' binary' if self.charset else ''}"
        charset = self.charset or (before.rpartition(" ")[2] if strict else "")
        if charset in ("", "binary"):
            return ""
        if self.kind == "blob":
            return f"blob{self.size} {charset}"
        return f"{self.kind}({int(self.size[1:-1]) * BYTES_PER_CHARACTER.get(charset, 4)}) {charset}"


def definition(words: Sequence[str], sql_mode: int) -> Definition | None:
    """Read a definition: key words in capitals, texts in their quotation marks. None where it holds what is not known here."""
    type_, rest = _type([_SAME.get(words[0], words[0]), *words[1:]]) if words else (None, [])
    attributes = _attributes(rest)
    if type_ is None or attributes is None:
        return None
    kind, size, charset = type_
    if kind == "timestamp" and "NULL" not in attributes:
        return None  # a NULL may have become the time of the statement
    if "UNSIGNED" in attributes:
        size += " unsigned"
    if kind in ("char", "varchar", "blob"):
        charset = charset or attributes.get("CHARSET", "")
    return Definition(kind, size, charset, "NOT NULL" in attributes, "AUTO_INCREMENT" in attributes, sql_mode)


def _type(words: list[str]) -> tuple[tuple[str, str, str] | None, list[str]]:
    """(kind, size, charset) and what stands behind it; None where the type is not known."""
    kind, rest = words[0], words[1:]
    inside, rest = _bracket(rest)
    low = kind.lower()
    if low in INTEGERS:
        return ("int", str(INTEGERS[low]), ""), rest
    if kind == "DECIMAL":
        digits = [part for part in inside if part != ","]
        return ("decimal", f"({(digits or ['10'])[0]},{digits[1] if len(digits) > 1 else 0})", ""), rest
    if kind in ("ENUM", "SET"):
        return (low, f"({''.join(inside)})", ""), rest
    if kind in _TIMES:
        return (low, f"({inside[0] if inside else 0})", ""), rest
    if kind in ("CHAR", "VARCHAR") or kind in ("BINARY", "VARBINARY"):
        name = low.replace("binary", "char")
        return (name, f"({inside[0] if inside else 1})", "binary" if "BINARY" in kind else ""), rest
    if low in BLOBS and not inside:
        return ("blob", f"({BLOBS[low]})", "binary" if low.endswith("blob") else ""), rest
    return ((low, "", ""), rest) if kind in _PLAIN and not inside else (None, rest)


def _bracket(words: list[str]) -> tuple[list[str], list[str]]:
    if not words or words[0] != "(":
        return [], words
    end = words.index(")") if ")" in words else len(words)
    return words[1:end], words[end + 1 :]


def _attributes(words: list[str]) -> dict[str, str] | None:
    """What else the definition says; None where it holds an unknown word."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "NOT" and rest[:1] == ["NULL"]:
            found["NOT NULL"] = rest.pop(0)
        elif word in ("UNSIGNED", "ZEROFILL"):
            found["UNSIGNED"] = word
        elif word in ("CHARSET", "CHARACTER") and rest:
            found["CHARSET"] = rest.pop(1 if rest[0] == "SET" and len(rest) > 1 else 0).lower()
            rest = rest[1:] if rest[:1] == ["SET"] else rest
        elif word == "DEFAULT" or (word == "ON" and rest[:1] == ["UPDATE"]):
            rest = _behind_value(rest[1:] if word == "ON" else rest)
        elif word in _PASSED:
            found |= {word: word}
            rest = rest[_PASSED[word] :]
        elif word in ("AUTO_INCREMENT", "PRIMARY"):
            found[word] = word
        else:
            return None
    return found


def _behind_value(words: list[str]) -> list[str]:
    """What stands behind a default: a text, a number, a word, a function or an expression in brackets."""
    rest = list(words)
    while rest and _NUMBER.fullmatch(rest[0]):
        rest.pop(0)
    if len(rest) < len(words):
        return rest
    if rest[:1] != ["("]:
        rest = rest[1:]
    depth = 0
    while rest and (depth or rest[0] == "("):
        depth += (rest[0] == "(") - (rest[0] == ")")
        rest.pop(0)
    return rest
