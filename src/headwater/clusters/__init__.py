"""Private database servers for the demo, the tests and the benchmarks: started in a moment, gone without a trace.

A newcomer has no database at hand, and nothing of ours may ever touch a server that someone else runs. So a server of our own is made
from the binaries that are there, in a directory of its own, on a free port of 127.0.0.1. `server` holds what all kinds share.
"""

from headwater.clusters.mysql import MysqlServer, PrivateMariadb, PrivateMysql
from headwater.clusters.mysql_installations import MysqlInstallation, find_mariadb, find_mysql
from headwater.clusters.postgres import Installation, PrivatePostgres, find_postgres, newest_postgres
from headwater.clusters.server import ClusterError, PrivateServer, StopMode

__all__ = [
    "ClusterError",
    "Installation",
    "MysqlInstallation",
    "MysqlServer",
    "PrivateMariadb",
    "PrivateMysql",
    "PrivatePostgres",
    "PrivateServer",
    "StopMode",
    "find_mariadb",
    "find_mysql",
    "find_postgres",
    "newest_postgres",
]
