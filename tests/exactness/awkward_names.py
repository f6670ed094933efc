"""Names that nobody should have to think about: tables, schemas and columns, each with the same few changes."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.domain.tables import TableName


@dataclass(frozen=True)
class Named:
    """A table of a key, a column that changes, and further columns (of text), by their plain names."""

    schema: str
    table: str
    key: str = "id"
    value: str = "v"
    more: tuple[str, ...] = ()

    @property
    def name(self) -> TableName:
        """As the product calls it."""
        return TableName(self.schema, self.table)

    @property
    def quoted(self) -> str:
        """As SQL writes it."""
        return f"{quote(self.schema)}.{quote(self.table)}"


def quote(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


NAMED = (
    Named("Shop", "Order", "Id", "Value"),
    Named("Shop", "order", "id", "value", ("Value", "VALUE")),
    Named("my.schema", "a.b.c", "x.y", "%s", ("100%", 'a"b', "c\\d", "e'f", " ")),
    Named("my", "schema.a.b.c"),  # written without quotes it would be the one above
    Named("select", "table", "order", "from", ("group", "user")),
    Named('sp ace "q" \\ %s 100%', 'ta "ble" \\ %(x)s %', " id ", "tab\tand\nline"),
    Named("'; --", "{}[](),'$1", "$1", "\\x"),
    Named("имя", "ÜñïçødéÄÖÜ漢字かなカナ한글и😀abcdefgh", "ключ", "𝔘𝔫𝔦 😀"),
    Named("s" * 63, "t" * 61 + "é", "k" * 61 + "ü", "v" * 59 + "😀", ("v" * 62,)),
    Named("names", "_", "_seq", "_txn", ("_op", "~0", "~1", "xid", "oid", "since")),
    Named("names", '"quoted"', "id", '"v"'),
    Named("names", ".dots.", "id", ".v"),
    Named("names", 'a"."b'),
    Named('"', '"', '"', '""'),
)


def tables() -> str:
    """Statements that make the schemas and tables; the schema `names` is there already."""
    schemas = dict.fromkeys(one.schema for one in NAMED if one.schema != "names")
    made = [f"CREATE SCHEMA {quote(schema)}" for schema in schemas]
    for one in NAMED:
        columns = "".join(f", {quote(name)} text" for name in (one.value, *one.more))
        made.append(f"CREATE TABLE {one.quoted} ({quote(one.key)} int PRIMARY KEY{columns})")
    return ";".join(made)


def rows() -> str:
    """Rows for each of them."""
    return ";".join(f"INSERT INTO {one.quoted} ({quote(one.key)}) SELECT i FROM generate_series(1, 5) i" for one in NAMED)


def changes() -> tuple[str, ...]:
    """An insert, an update, a change of the key and a delete for each of them."""
    return tuple(
        f"INSERT INTO {one.quoted} ({', '.join(map(quote, (one.key, *one.more)))}) VALUES (100{', $$m$$' * len(one.more)});"
        f"UPDATE {one.quoted} SET {quote(one.value)} = '%s \\ \" ''' WHERE {quote(one.key)} = 1;"
        f"UPDATE {one.quoted} SET {quote(one.key)} = 200 WHERE {quote(one.key)} = 2; DELETE FROM {one.quoted} WHERE {quote(one.key)} = 3"
        for one in NAMED
    )
