"""A log that the server keeps encrypted: what it sends to a replica is in the clear, wherever in a file that begins (P8)."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headwater.clusters import MysqlServer, PrivateMariadb, PrivateMysql, find_mariadb, find_mysql
from headwater.domain.tables import TableName
from tests.databases import MysqlDatabase
from tests.sources.mysql_places import source_of
from tests.sources.postgres_logs import Follower

MARIADB_PLUGIN, MYSQL_COMPONENT = "file_key_management", "component_keyring_file"
WORD = "in the clear"


class WithKeyring(PrivateMysql):
    """A MySQL that finds a manifest of components beside its program, which is a link in `place`."""

    place: Path

    def _program(self) -> list[str]:
        return [*super()._program()[:-1], str(self.place / "mysqld")]


def with_plugin(place: Path) -> PrivateMariadb:
    keys = place / "keys"
    keys.write_text(f"1;{'a1' * 32}\n")
    chosen = {"plugin_load_add": MARIADB_PLUGIN, "file_key_management_filename": str(keys), "encrypt_binlog": "ON"}
    return PrivateMariadb(settings=chosen)


def with_keyring(place: Path) -> WithKeyring:
    plugins, keys = place / "plugins", place / "keys"
    server = WithKeyring(settings={"plugin_dir": str(plugins), "binlog_encryption": "ON"})
    server.place = place
    (place / "mysqld").symlink_to(PrivateMysql(server.installation)._program()[-1])
    (place / "mysqld.my").write_text(json.dumps({"components": f"file://{MYSQL_COMPONENT}"}))
    plugins.mkdir()
    for file in (server.installation.root / "usr/lib/mysql/plugin").iterdir():
        (plugins / file.name).symlink_to(file)
    keys.mkdir()
    keys.chmod(0o777)
    (plugins / f"{MYSQL_COMPONENT}.cnf").write_text(json.dumps({"path": str(keys / "keyring"), "read_only": False}))
    return server


@pytest.fixture(params=["mariadb", "mysql"])
def encrypting(request: pytest.FixtureRequest) -> Iterator[MysqlServer]:
    mariadb = request.param == "mariadb"
    found, wanted = (find_mariadb(), MARIADB_PLUGIN) if mariadb else (find_mysql(), MYSQL_COMPONENT)
    if not found or not (found[-1].root / f"usr/lib/mysql/plugin/{wanted}.so").exists():
        pytest.skip(f"No {request.param} with {wanted} is here: logs that are encrypted on disk are not tested")
    place = Path(tempfile.mkdtemp(prefix="headwater-keys-"))
    place.chmod(0o755)  # the server runs under another account
    try:
        with with_plugin(place) if mariadb else with_keyring(place) as server:
            yield server
    finally:
        shutil.rmtree(place)


def test_it_is_read_from_anywhere(encrypting: MysqlServer) -> None:
    database = MysqlDatabase.create(encrypting, "hidden")
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50))")
    wanted = [TableName("hidden", "t")]
    with closing(source_of(database).open_log(wanted, None, False)) as log:
        follower = Follower(log)
        database.run(f"INSERT INTO t VALUES (1, '{WORD}')", "FLUSH BINARY LOGS", f"INSERT INTO t VALUES (2, '{WORD}')")
        database.run(f"INSERT INTO t VALUES (3, '{WORD}')")
        rows = [row for _, _, row in follower.rows(3)]
        places = [row["position"] for frame in follower.frames for row in frame.transactions.to_pylist()]
    assert rows == [{"id": str(i).encode(), "v": WORD.encode()} for i in (1, 2, 3)]
    for i, place in enumerate(places, 1):
        with closing(source_of(database).open_log(wanted, place, False)) as log:
            again = Follower(log)
            assert [row for _, _, row in again.rows(3 - i)] == rows[i:]
            again.until(lambda: again.heard)  # noqa: B023  called here
            assert again.heard[-1].behind_bytes == 0
    assert encrypting.directory is not None
    files = sorted((encrypting.directory / "data").glob("binlog.0*"))
    assert len(files) > 1
    assert not any(WORD.encode() in file.read_bytes() for file in files)
