"""In which text form each side gives a column's values, so that equal values have equal texts. Pure.

A value reaches the target as text and becomes what the target's type makes of it. So where the types differ, the source is asked for
the text of its value as the target's type. Where that can't be asked for, the pair is not compared, and the result says so: a false
difference would be worse than a gap that is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.domain.types import INTEGERS, TEXTS, known, name_of


@dataclass(frozen=True)
class Form:
    """A text form. `plain`: the type's own text. `digest`: the MD5 of binary data. `output`: as a copy brings it. `cast`: as `output`, then
    read as a value of `type` and written as `plain`."""

    kind: Literal["plain", "digest", "output", "cast"] = "plain"
    type: str = ""


PLAIN, DIGEST, OUTPUT = Form(), Form("digest"), Form("output")


def forms(source_type: str, target_type: str) -> tuple[Form, Form] | None:
    """The forms of a column pair, source first; None where the two can't be compared.

    Types are what `Comparison.types` answers."""
    if source_type == target_type:
        return (DIGEST, DIGEST) if source_type == "bytea" else (PLAIN, PLAIN)
    source, target = name_of(source_type), name_of(target_type)
    if source in INTEGERS and (target in INTEGERS or target_type == "numeric"):
        return PLAIN, PLAIN
    if source == target == "character":  # trailing blanks mean nothing, and the plain text has none
        return PLAIN, PLAIN
    if target in TEXTS - {"character"}:
        return OUTPUT, PLAIN
    return (Form("cast", target_type), PLAIN) if known(target_type) else None
