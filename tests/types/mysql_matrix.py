"""The types that MySQL and MariaDB can have, each with awkward values in the text form in which they travel, and the tables of
docs/types.md that say which type of another database takes which: `python -m tests.types.mysql_matrix` prints them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from headwater.domain.best_types import best
from headwater.domain.kinds import MYSQL, kind_of
from headwater.domain.types import compatible


@dataclass(frozen=True)
class MysqlKind:
    """One type as `Column.base` spells it without its prefix, and its values by class. `only`: the flavour that has it."""

    type: str
    values: Mapping[str, str]
    only: str = ""

    @property
    def base(self) -> str:
        """`Column.base`."""
        return MYSQL + self.type


ALL_BYTES = "\\x" + bytes(range(256)).hex()
POINT = "\\x00000000" + "0101000000" + "000000000000f03f" + "0000000000000040"
KINDS = (
    MysqlKind("tinyint(1)", {"false": "0", "true": "1", "two": "2", "least": "-128"}),
    MysqlKind("tinyint unsigned", {"greatest": "255", "zero": "0"}),
    MysqlKind("smallint", {"least": "-32768", "greatest": "32767"}),
    MysqlKind("mediumint", {"least": "-8388608", "greatest": "8388607"}),
    MysqlKind("mediumint unsigned", {"greatest": "16777215"}),
    MysqlKind("int", {"least": "-2147483648", "greatest": "2147483647"}),
    MysqlKind("int unsigned", {"greatest": "4294967295"}),
    MysqlKind("bigint", {"least": "-9223372036854775808", "greatest": "9223372036854775807"}),
    MysqlKind("bigint unsigned", {"greatest": "18446744073709551615", "beyond a double": "9007199254740993"}),
    MysqlKind("decimal(65,30)", {"greatest": "9" * 35 + "." + "9" * 30, "least step": "-0." + "0" * 29 + "1", "zero": "0." + "0" * 30}),
    MysqlKind("decimal(10,2)", {"cents": "-1234.50", "greatest": "99999999.99"}),
    MysqlKind("decimal(10,0)", {"whole": "-9999999999", "zero": "0"}),
    MysqlKind("float", {"tenth": "0.10000000149011612", "greatest": "3.4028234663852886e38", "denormal": "1.401298464324817e-45"}),
    MysqlKind(
        "double", {"17 digits": "0.30000000000000004", "greatest": "1.7976931348623157e308", "denormal": "5e-324", "minus zero": "-0"}
    ),
    MysqlKind("bit(1)", {"set": "1", "clear": "0"}),
    MysqlKind("bit(3)", {"mixed": "101"}),
    MysqlKind("bit(64)", {"all": "1" * 64, "sign": "1" + "0" * 63}),
    MysqlKind("year", {"zero": "0", "first": "1901", "last": "2155"}),
    MysqlKind("char(3) utf8mb4", {"letters": "ä€\U0001f600", "short": "a", "empty": ""}),
    MysqlKind("varchar(20) latin1", {"blanks": " a  ", "cp1252": "€ž", "a number": "1", "a uuid": "a0eebc99"}),
    MysqlKind("longtext utf8mb4", {"marks of a copy": "\\N\t\n\\.", "backslash x": "\\x41", "JSON": '{"a": [1, "ä"]}', "empty": ""}),
    MysqlKind("binary(3)", {"zeros": "\\x000000", "marks": "\\x5c090a"}),
    MysqlKind("varbinary(300)", {"every byte": ALL_BYTES, "empty": "\\x"}),
    MysqlKind("longblob", {"every byte": ALL_BYTES}),
    MysqlKind("date", {"first": "1000-01-01", "last": "9999-12-31", "zero": "0000-00-00", "no day": "2026-02-00"}),
    MysqlKind("datetime", {"last": "9999-12-31 23:59:59", "zero": "0000-00-00 00:00:00", "skipped hour": "2026-03-29 02:30:00"}),
    MysqlKind("datetime(6)", {"microseconds": "2026-03-29 02:30:00.123456", "first": "0001-01-01 00:00:00.000000"}),
    MysqlKind("timestamp", {"first": "1970-01-01 00:00:01+00", "last": "2038-01-19 03:14:07+00", "zero": "0000-00-00 00:00:00"}),
    MysqlKind("timestamp(6)", {"repeated hour": "2026-10-25 00:30:00.000001+00"}),
    MysqlKind("time", {"longest": "838:59:59", "negative": "-838:59:59", "of a day": "23:59:59", "24 hours": "24:00:00"}),
    MysqlKind("time(6)", {"less than nothing": "-00:00:00.000001", "microseconds": "12:00:00.999999"}),
    MysqlKind("json", {"nested": '{"a": {"ä": [1.1, null, "x\\ty"]}, "": true}', "scalar": '"x"', "number": "1e400"}),
    MysqlKind("enum('a','B''b','1') utf8mb4", {"quote": "B'b", "a number": "1", "the error value": ""}),
    MysqlKind("set('a','b','1') utf8mb4", {"several": "a,b", "none": "", "a number": "1"}),
    MysqlKind("point", {"on the plane": POINT}),
    MysqlKind("geometry", {"a point": POINT}),
    MysqlKind("uuid", {"some": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "nil": "00000000-0000-0000-0000-000000000000"}, "mariadb"),
    MysqlKind("inet4", {"some": "10.0.0.1"}, "mariadb"),
    MysqlKind("inet6", {"some": "fe80::1", "mapped": "::ffff:1.2.3.4"}, "mariadb"),
)

POSTGRES = (
    "smallint", "integer", "bigint", "numeric", "numeric(12,2)", "real", "double precision", "boolean", "text", "character varying(20)",
    "character(3)", "bytea", "uuid", "json", "jsonb", "xml", "date", "timestamp without time zone", "timestamp with time zone",
    "time without time zone", "time with time zone", "interval", "bit(3)", "bit varying", "inet", "cidr", "macaddr", "money", "enum",
    "integer[]", "int4range", "tsvector", "point",
)  # fmt: skip
"""Types of PostgreSQL that the tables of docs/types.md tell of."""


def tables() -> list[str]:
    """The two tables of docs/types.md, line by line."""
    return [*_table("MySQL, MariaDB", [kind.base for kind in KINDS]), "", *_table("PostgreSQL", POSTGRES)]


def _table(title: str, sources: Sequence[str]) -> Iterator[str]:
    to_postgres = title != "PostgreSQL"
    goal = "PostgreSQL" if to_postgres else "MariaDB (MySQL)"
    yield f"| from {title} | a new column of {goal} | also taken by |"
    yield "|---|---|---|"
    targets = list(POSTGRES) if to_postgres else [kind.base for kind in KINDS]
    for source in sources:
        kind = kind_of(source)
        families = [best(kind, "postgres")] if to_postgres else [best(kind, "mariadb"), best(kind, "mysql")]
        made = f"`{families[0]}`" if len(set(families)) == 1 else f"`{families[0]}` (`{families[1]}`)"
        others = [target.removeprefix(MYSQL) for target in targets if compatible(source, target) is None]
        yield f"| `{source.removeprefix(MYSQL)}` | {made} | {', '.join(f'`{o}`' for o in others if o not in families)} |"


if __name__ == "__main__":
    print("\n".join(tables()))
