"""Which column types may be joined, PostgreSQL to PostgreSQL: `compatible`.

Values travel in the source's text form (decision 0002), so a pair is possible where the target type reads what the source type
writes and means the same by it. Three answers follow from the promises:

* A pair that keeps every value is allowed.
* A pair that some values don't fit (`bigint` to `integer`, a shorter `varchar`) is allowed: the target refuses such a row
  loudly, with the task's position kept (P7).
* A pair that changes values without a word (rounding, a dropped time zone) or can't work at all is refused, with the reason (P8).

Types that this table does not know (enums, domains, extensions) are joined to themselves, to text and to one another: whether values fit
is for the target to say, and it does so loudly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPELLING = re.compile(r"^(?P<name>[^(\[]+?)\s*(?:\((?P<length>[^)]*)\))?(?P<rest>[^(\[]*?)(?P<array>(?:\[\])*)$")

_ALIASES = {
    "int2": "smallint",
    "int4": "integer",
    "int": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "decimal": "numeric",
    "bool": "boolean",
    "varchar": "character varying",
    "bpchar": "character",
    "char": "character",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "varbit": "bit varying",
}

TEXTS = frozenset({"text", "character varying", "character", "citext", "name"})
INTEGERS = frozenset({"smallint", "integer", "bigint"})

_READS: dict[str, frozenset[str]] = {
    "smallint": INTEGERS | {"numeric", "real", "double precision", "oid"},
    "integer": INTEGERS | {"numeric", "double precision", "oid"},
    "bigint": INTEGERS | {"numeric", "oid"},
    "oid": frozenset({"oid", "bigint", "numeric"}),
    "real": frozenset({"real", "double precision", "numeric"}),
    "double precision": frozenset({"double precision", "numeric"}),
    "numeric": frozenset({"numeric"}),
    "money": frozenset({"money"}),
    "boolean": frozenset({"boolean"}),
    "bytea": frozenset({"bytea"}),
    "uuid": frozenset({"uuid"}),
    "date": frozenset({"date", "timestamp without time zone", "timestamp with time zone"}),
    "timestamp without time zone": frozenset({"timestamp without time zone", "timestamp with time zone"}),
    "timestamp with time zone": frozenset({"timestamp with time zone", "timestamp without time zone"}),
    "time without time zone": frozenset({"time without time zone", "time with time zone", "interval"}),
    "time with time zone": frozenset({"time with time zone"}),
    "interval": frozenset({"interval"}),
    "json": frozenset({"json", "jsonb"}),
    "jsonb": frozenset({"json", "jsonb"}),
    "xml": frozenset({"xml"}),
    "inet": frozenset({"inet"}),
    "cidr": frozenset({"cidr", "inet"}),
    "macaddr": frozenset({"macaddr", "macaddr8"}),
    "macaddr8": frozenset({"macaddr8"}),
    "bit": frozenset({"bit", "bit varying"}),
    "bit varying": frozenset({"bit", "bit varying"}),
    "pg_lsn": frozenset({"pg_lsn"}),
    "tsvector": frozenset({"tsvector"}),
    "tsquery": frozenset({"tsquery"}),
    **{kind: frozenset({kind}) for kind in ("point", "line", "lseg", "box", "path", "polygon", "circle")},
    **{kind: frozenset({kind}) for kind in ("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange")},
    **{
        kind: frozenset({kind})
        for kind in ("int4multirange", "int8multirange", "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange")
    },
}
"""Source type -> target types, besides texts, that read what it writes and mean the same."""

_FROM_TEXT = frozenset({"uuid", "json", "jsonb", "xml"})
"""Types that are often kept in texts at the source; a text that is none is refused by the target."""

_SILENT = {
    ("bigint", "double precision"): "large whole numbers would be rounded",
    ("bigint", "real"): "large whole numbers would be rounded",
    ("integer", "real"): "large whole numbers would be rounded",
    ("numeric", "double precision"): "numbers would be rounded",
    ("numeric", "real"): "numbers would be rounded",
    ("double precision", "real"): "numbers would be rounded",
    ("timestamp without time zone", "date"): "the time of day would be lost",
    ("timestamp with time zone", "date"): "the time of day would be lost",
    ("time with time zone", "time without time zone"): "the time zone would be lost",
}


@dataclass(frozen=True)
class _Type:
    """A type as `format_type` spells it, taken apart. `length` are the numbers in brackets, None where there are none."""

    name: str
    length: tuple[int, ...] | None
    array: bool


def compatible(source_type: str, target_type: str) -> str | None:
    """None where a column of `source_type` may fill one of `target_type`; otherwise the reason why not, as half a sentence."""
    source, target = _read(source_type), _read(target_type)
    if target.name in TEXTS and not target.array:
        return None
    if source.array != target.array:
        return f"{source_type} is {'an array' if source.array else 'no array'} and {target_type} is {'one' if target.array else 'not'}"
    if (source.name, target.name) in _SILENT:
        return _SILENT[source.name, target.name]
    if source.name == target.name:
        return _loss(source, target)
    if not _reads(source.name, target.name):
        return f"{target_type} does not read the values of {source_type}"
    return _loss(source, target)


def fits(source_type: str, target_type: str) -> bool:
    """Whether a column of `source_type` may fill one of `target_type`."""
    return compatible(source_type, target_type) is None


def _reads(source: str, target: str) -> bool:
    if source in TEXTS:
        return target in TEXTS or target in _FROM_TEXT or target not in _READS
    if source in _READS and target in _READS:
        return target in _READS[source]
    return target in TEXTS or source not in _READS or target not in _READS


def _loss(source: _Type, target: _Type) -> str | None:
    """Lengths that would round; texts and bits that are too long are refused by the target, numbers and times are not."""
    if target.name == "numeric" and target.length is not None:
        scale = target.length[1] if len(target.length) > 1 else 0
        if _decimals(source) > scale:
            return f"decimals beyond the {scale} of the target would be rounded"
    if target.name.startswith(("time", "interval")) and target.length and _fraction(source) > target.length[0]:
        return f"seconds would be rounded to {target.length[0]} decimals"
    return None


def _decimals(source: _Type) -> int:
    if source.name in INTEGERS or source.name == "oid":
        return 0
    if source.name == "numeric" and source.length is not None:
        return source.length[1] if len(source.length) > 1 else 0
    return 1 << 20


def _fraction(source: _Type) -> int:
    if source.name == "date":
        return 0
    return source.length[0] if source.length else 6


def _read(spelling: str) -> _Type:
    found = _SPELLING.match(spelling.strip())
    if found is None:
        return _Type(spelling, None, array=False)
    words = f"{found['name']}{found['rest'] or ''}".split()
    name = " ".join(words).rpartition(".")[2].strip('"') if "." in found["name"] else " ".join(words)
    numbers = re.findall(r"-?\d+", found["length"] or "")
    return _Type(_ALIASES.get(name, name), tuple(int(n) for n in numbers) or None, array=bool(found["array"]))


def name_of(spelling: str) -> str:
    """A type's name without length, in its long spelling, with `[]` for an array of any dimension."""
    found = _read(spelling)
    return f"{found.name}[]" if found.array else found.name


def known(spelling: str) -> bool:
    """Whether it is one of the types of this table, or an array of one: PostgreSQL's own, the same on every server."""
    return "." not in spelling and '"' not in spelling and (name := _read(spelling).name) in _READS.keys() | TEXTS and name != "citext"
