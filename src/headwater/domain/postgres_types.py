"""PostgreSQL's types, taken apart, and which of them may be joined with one another.

Values travel in the source's text form (decision 0002), so a pair is possible where the target type reads what the source type
writes and means the same by it. Three answers follow from the promises:

* A pair that keeps every value is allowed.
* A pair that some values don't fit (`bigint` to `integer`, a shorter `varchar`) is allowed: the target refuses such a row
  loudly, with the task's position kept (P7).
* A pair that changes values without a word (rounding, blanks, a dropped time zone) or can't work at all is refused, with the reason (P8).

Besides PostgreSQL's spellings, those of `Column.base` are understood: `enum`, `row(...)` with the types of its fields, `range of ...`.
Enums are joined to enums and texts, since labels are refused or equal. Rows and own ranges are joined to their like,
types of extensions to those of the same name, and all of them to texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPELLING = re.compile(r"^(?P<name>[^(\[]+?)\s*(?:\((?P<length>[^)]*)\))?(?P<rest>[^(\[]*?)$")
_SHAPES = re.compile(r"enum$|row\(|range of ")
_OWN = re.compile(rf'{_SHAPES.pattern}|.*[."]', re.DOTALL)
"""Types that are not PostgreSQL's own."""

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
    '"bit"': "bit",
}

TEXTS = frozenset({"text", "character varying", "character", "citext", "name"})
INTEGERS = frozenset({"smallint", "integer", "bigint"})

_READS: dict[str, frozenset[str]] = {
    "smallint": INTEGERS | {"numeric", "real", "double precision"},
    "integer": INTEGERS | {"numeric", "double precision"},
    "bigint": INTEGERS | {"numeric"},
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
    "int4range": frozenset({"int4range", "int8range"}),
    "int4multirange": frozenset({"int4multirange", "int8multirange"}),
    "txid_snapshot": frozenset({"txid_snapshot", "pg_snapshot"}),
    "pg_snapshot": frozenset({"txid_snapshot", "pg_snapshot"}),
    **{kind: frozenset({kind}) for kind in ("point", "line", "lseg", "box", "path", "polygon", "circle")},
    **{kind: frozenset({kind}) for kind in ("int8range", "numrange", "tsrange", "tstzrange", "daterange")},
    **{kind: frozenset({kind}) for kind in ("int8multirange", "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange")},
    **{kind: frozenset({kind}) for kind in ("tsvector", "tsquery", "jsonpath", "pg_lsn", "xid", "xid8", "cid", "tid", "refcursor")},
    **{kind: frozenset({kind}) for kind in ("regclass", "regtype", "regproc", "regprocedure", "regoper", "regoperator", "regrole")},
    **{kind: frozenset({kind}) for kind in ("regnamespace", "regconfig", "regdictionary", "regcollation", "aclitem")},
    **{kind: frozenset({kind}) for kind in ('"char"', "int2vector", "oidvector")},
}
"""Source type -> target types, besides texts, that read what it writes and mean the same."""

_FROM_TEXT = frozenset({"uuid", "json", "jsonb", "xml"})
"""Types that are often kept in texts at the source; a text that is none is refused by the target."""

_ANY_TEXT = TEXTS - {"character", "name"}
"""Texts that take what any type writes, arrays included."""

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
class PostgresType:
    """A type as `format_type` spells it, taken apart. `length` are the numbers in brackets, None where there are none; `fields` the parts
    that an interval is limited to; `own` where the type is not PostgreSQL's own."""

    name: str
    length: tuple[int, ...] | None = None
    array: bool = False
    fields: str = ""
    own: bool = False


def compatible(source_type: str, target_type: str) -> str | None:
    """None where a column of `source_type` may fill one of `target_type`; otherwise the reason why not, as half a sentence."""
    source, target = read(source_type), read(target_type)
    if target.name in _ANY_TEXT and not target.array:
        return None
    if source.array != target.array:
        return f"{source_type} is {'an array' if source.array else 'no array'} and {target_type} is {'one' if target.array else 'not'}"
    if (source.name, target.name) in _SILENT:
        return _SILENT[source.name, target.name]
    if not _reads(source, target):
        return f"{target_type} does not read the values of {source_type}"
    return _loss(source, target)


def _reads(source: PostgresType, target: PostgresType) -> bool:
    if source.name == target.name:
        return True
    if source.name == "box" and source.array:
        return False  # its arrays are written with semicolons
    if target.name in TEXTS:
        return True
    if target.own:
        return target.name == "enum" and source.name in TEXTS
    return target.name in (_FROM_TEXT if source.name in TEXTS else _READS.get(source.name, ()))


def _loss(source: PostgresType, target: PostgresType) -> str | None:
    """What would be cut or filled up; texts and bits that are too long are refused by the target, numbers and times are not."""
    if target.name == "name" and source.name != "name":
        return "texts would be cut after 63 bytes"
    if target.name == "character" and target.length and source.name != "character":
        return "shorter texts would be filled up with blanks"
    if target.name == "numeric" and target.length is not None:
        scale = target.length[1] if len(target.length) > 1 else 0
        if _decimals(source) > scale:
            return f"decimals beyond the {scale} of the target would be rounded"
    if target.fields and target.fields != source.fields:
        return f"all but the {target.fields} would be lost"
    if target.name.startswith(("time", "interval")) and target.length and _fraction(source) > target.length[0]:
        return f"seconds would be rounded to {target.length[0]} decimals"
    return None


def _decimals(source: PostgresType) -> int:
    if source.name in INTEGERS or source.name == "oid":
        return 0
    if source.name == "numeric" and source.length is not None:
        return source.length[1] if len(source.length) > 1 else 0
    return 1 << 20


def _fraction(source: PostgresType) -> int:
    if source.name == "date":
        return 0
    return source.length[0] if source.length else 6


def read(spelling: str) -> PostgresType:
    """Take a type apart, as `format_type` or `Column.base` spells it."""
    bare = spelling.strip()
    while bare.endswith("[]"):
        bare = bare[:-2]
    array = bare != spelling.strip()
    if bare in _ALIASES or bare in _READS:
        return PostgresType(_ALIASES.get(bare, bare), array=array)
    if _OWN.match(bare):
        return _own(bare, array)
    found = _SPELLING.match(bare)
    if found is None:
        return PostgresType(bare, array=array, own=True)
    name = " ".join(f"{found['name']}{found['rest'] or ''}".split())
    name, _, fields = name.partition(" ") if name.startswith("interval ") else (name, "", "")
    numbers = tuple(int(n) for n in re.findall(r"-?\d+", found["length"] or "")) or None
    name = _ALIASES.get(name, name)
    return PostgresType(name, numbers, array, fields, own=name not in _READS and name not in TEXTS)


def _own(spelling: str, array: bool) -> PostgresType:
    """A type that is not PostgreSQL's own. Its schema counts for nothing: extensions lie where somebody has put them."""
    name = spelling if _SHAPES.match(spelling) else spelling.rpartition(".")[2].strip('"')
    if name == "citext":
        return PostgresType(name, array=array)
    return PostgresType(spelling if name in _READS else name, array=array, own=True)


def name_of(spelling: str) -> str:
    """A type's name without length, in its long spelling, with `[]` for an array of any dimension."""
    found = read(spelling)
    return f"{found.name}[]" if found.array else found.name


def known(spelling: str) -> bool:
    """Whether it is one of the types of this table, or an array of one: PostgreSQL's own, the same on every server."""
    return "." not in spelling and '"' not in spelling and (name := read(spelling).name) in _READS.keys() | TEXTS and name != "citext"
