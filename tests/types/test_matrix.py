"""P8 over the whole matrix of types: what is copied, what is followed and what stands in the target are equal, whatever is set where."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from headwater.clusters import Installation
from tests.conftest import BOTH
from tests.databases import Database
from tests.integration.world import World
from tests.types.chain import PAIRED, TASK, Chain
from tests.types.conftest import Servers
from tests.types.matrix import NOT_STORED, Kind, kinds

BUILT_IN = """
SELECT format_type(oid, NULL) FROM pg_type
 WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND typname !~ '^_'
"""
"""Every type of the server but arrays, row types and pseudo-types."""

Settings = Mapping[str, str]

SETTINGS: tuple[Settings, ...] = (
    {
        "TimeZone": "Asia/Kolkata", "DateStyle": "SQL, DMY", "IntervalStyle": "sql_standard", "bytea_output": "escape",
        "extra_float_digits": "-15", "lc_monetary": "de_DE.utf8", "xmloption": "document", "array_nulls": "off",
        "quote_all_identifiers": "on",
    },
    {
        "TimeZone": "America/St_Johns", "DateStyle": "German, YMD", "IntervalStyle": "postgres_verbose", "bytea_output": "hex",
        "extra_float_digits": "0", "lc_monetary": "ja_JP.utf8", "xmloption": "content", "array_nulls": "on", "quote_all_identifiers": "off",
    },
    {
        "TimeZone": "Etc/GMT+12", "DateStyle": "Postgres, MDY", "IntervalStyle": "iso_8601", "bytea_output": "escape",
        "extra_float_digits": "-4", "lc_monetary": "C", "xmloption": "document", "array_nulls": "off", "quote_all_identifiers": "on",
    },
)  # fmt: skip
"""What the databases of source and target set, and the roles there."""

OLD, NEW = BOTH[0], BOTH[-1]
ROUTES: dict[str, tuple[Installation, Installation, int, int, Callable[[Kind], bool]]] = {
    "old to new": (OLD, NEW, 0, 1, lambda kind: True),
    "new to old": (NEW, OLD, 1, 2, lambda kind: kind.type in PAIRED),
    "old to old": (OLD, OLD, 2, 0, lambda kind: bool(kind.needs)),
}
"""Name -> source, target, the numbers of their settings, and which kinds are keys. Debian's PostgreSQL, the older one where both are there,
has extensions and XML."""


@pytest.mark.parametrize("route", ROUTES)
def test_every_value_is_the_same(
    route: str,
    servers: Servers,
    make_database: Callable[..., Database],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target, here, there, keys = ROUTES[route]
    world = World(tmp_path, make_database(servers(source)), make_database(servers(target)))
    chain = Chain(world, keys)
    chain.create()
    _set(world.source, SETTINGS[here], "ALTER DATABASE {database}")
    _set(world.target, SETTINGS[there], "ALTER ROLE {role} IN DATABASE {database}")
    monkeypatch.setenv("PGTZ", "Pacific/Chatham")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    monkeypatch.setenv("PGOPTIONS", "-c IntervalStyle=iso_8601")
    with world.running():
        world.wish(TASK, True)
        chain.await_applied(1)
        chain.change()
        chain.await_applied(2)
    world.store.close()
    assert chain.differences() == []


def _set(database: Database, settings: Settings, whose: str) -> None:
    names = {"database": sql.Identifier(database.name), "role": sql.Identifier(database.cluster.user)}
    with database.connect() as connection:
        for name, value in settings.items():
            change = sql.SQL(whose + " SET {name} = {value}").format(**names, name=sql.Identifier(name), value=sql.Literal(value))
            try:
                connection.execute(change)
            except psycopg.errors.InvalidParameterValue:
                assert name == "lc_monetary"  # this machine can't make the locale


@pytest.mark.parametrize("installation", [OLD, NEW], ids=["old", "new"])
def test_no_built_in_type_is_missing(installation: Installation, servers: Servers) -> None:
    with servers(installation).connect() as connection:
        there = {name for (name,) in connection.execute(BUILT_IN.encode())}
    tried = {re.sub(r"\(.*\)", "", kind.type) for kind in kinds(installation.version[0], frozenset({"libxml"}))}
    assert there - tried == NOT_STORED.keys() & there
