"""Sources on private servers of MariaDB and MySQL, for the tests here."""

from __future__ import annotations

from typing import Any

from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.source import MysqlSource
from tests.databases import MysqlDatabase


def config_of(database: MysqlDatabase, **more: Any) -> MysqlConfig:
    """The superuser's connection."""
    server = database.cluster
    given: dict[str, Any] = {"user": server.user, "password": server.password, **more}
    return MysqlConfig(database.name, server.host, database.name, port=server.port, **given)


def source_of(database: MysqlDatabase, **more: Any) -> MysqlSource:
    """A source."""
    return MysqlSource(config_of(database, **more))


def user_of(database: MysqlDatabase, *grants: str) -> dict[str, str]:
    """A user with these grants, as arguments of `source_of`. It is named after the database."""
    name = database.name
    database.run(f"CREATE OR REPLACE USER {name}@'%' IDENTIFIED BY 'pässwort'") if _mariadb(database) else database.run(
        f"DROP USER IF EXISTS {name}@'%'", f"CREATE USER {name}@'%' IDENTIFIED BY 'pässwort'"
    )
    database.run(*(f"GRANT {grant} TO {name}@'%'" for grant in grants))
    return {"user": name, "password": "pässwort"}


def _mariadb(database: MysqlDatabase) -> bool:
    return bool("MariaDB" in database.rows("SELECT version()")[0][0])
