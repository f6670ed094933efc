"""Where binaries of MariaDB and MySQL lie: in this machine's own directories, or unpacked in a private one (see `fetch_servers`).

An unpacked installation has its own C library, which may be newer than the machine's: its programs run through its own dynamic loader.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headwater.clusters.server import ClusterError

Flavour = Literal["mariadb", "mysql"]
SYSTEM = Path("/")
PROGRAM_DIRS = ("usr/sbin", "usr/bin")
LIBRARIES = ("usr/lib", "lib")
"""Where libraries lie; older releases of Debian have some of them in the second."""

SERVER: dict[Flavour, str] = {"mariadb": "mariadbd", "mysql": "mysqld"}
"""The server's program."""

CHOICE = "HEADWATER_MARIADB"
"""The environment variable that names the version of MariaDB to use instead of this machine's own: `10.5`."""


@dataclass(frozen=True, order=True)
class MysqlInstallation:
    """The binaries of MariaDB or MySQL below `root`. `version` is (major, minor)."""

    version: tuple[int, int]
    flavour: Flavour
    root: Path = SYSTEM

    @property
    def name(self) -> str:
        """Short name by version, e.g. `mariadb10.11`."""
        return f"{self.flavour}{self.version[0]}.{self.version[1]}"

    def command(self, program: str) -> list[str]:
        """The beginning of a command line that runs one of its programs, e.g. `mysqlbinlog`.

        Raises:
            ClusterError: the installation lacks it.
        """
        for directory in PROGRAM_DIRS:
            if (path := self.root / directory / program).exists():
                return [*self._loader(), str(path)]
        raise ClusterError(f"{self.name} below {self.root} has no {program}.")

    def has(self, *programs: str) -> bool:
        """Whether all of these programs are there."""
        return all(any((self.root / directory / program).exists() for directory in PROGRAM_DIRS) for program in programs)

    @property
    def places(self) -> list[str]:
        """Options that lead the server to its own files, where it lies elsewhere than it was built for."""
        if self.root == SYSTEM:
            return []
        share = self._share
        plugins = self.root / "usr/lib/mysql/plugin"
        return [f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}", f"--plugin-dir={plugins}"]

    def scripts(self) -> list[Path]:
        """MariaDB: the statements that fill an empty data directory, in order, without help texts and views for administrators.

        Raises:
            ClusterError: the installation lacks them.
        """
        share, prefix = self._share, "mariadb" if self._share.name == "mariadb" else "mysql"
        files = [share / f"{prefix}_{name}.sql" for name in ("system_tables", "performance_tables", "system_tables_data")]
        files.append(share / "maria_add_gis_sp_bootstrap.sql")
        if missing := [file.name for file in files if not file.exists()]:
            raise ClusterError(f"{self.name} below {self.root} lacks {missing[0]}.")
        return files

    @property
    def _share(self) -> Path:
        """Where messages, character sets and scripts lie. MariaDB moved them."""
        moved = self.root / "usr/share/mariadb"
        return moved if (moved / "charsets").exists() else self.root / "usr/share/mysql"

    def _loader(self) -> list[str]:
        if self.root == SYSTEM:
            return []
        loaders = [loader for place in LIBRARIES for loader in sorted(self.root.glob(f"{place}/*/ld-linux-*.so.*"))]
        if not loaders:
            raise ClusterError(f"{self.name} below {self.root} has no dynamic loader.")
        libraries = ":".join(str(self.root / place / loaders[0].parent.name) for place in LIBRARIES)
        return [str(loaders[0]), "--library-path", libraries]


def find_mariadb() -> list[MysqlInstallation]:
    """The MariaDB installations at hand. The last one is to be used: that of this machine, or the one that HEADWATER_MARIADB names.

    Raises:
        ClusterError: the named version is not here.
    """
    own = installed("mariadb", SYSTEM)
    found = [*fetched("mariadb"), *([own] if own is not None else [])]
    chosen = os.environ.get(CHOICE)
    if not chosen:
        return found
    named = [one for one in found if one.name == f"mariadb{chosen}"]
    if not named:
        raise ClusterError(f"There is no MariaDB {chosen} ({CHOICE}) here, only {', '.join(one.name for one in found) or 'none at all'}.")
    return named


def find_mysql() -> list[MysqlInstallation]:
    """The MySQL installations at hand, oldest first: this machine's own, and those that `fetch_servers` has fetched."""
    own = installed("mysql", SYSTEM)
    return sorted([*fetched("mysql"), *([own] if own is not None else [])])


def fetched(flavour: Flavour) -> list[MysqlInstallation]:
    """Those that `fetch_servers` has fetched, oldest first."""
    return sorted(filter(None, (installed(flavour, root) for root in cache_directory().glob(f"{flavour}-*/root"))))


def installed(flavour: Flavour, root: Path) -> MysqlInstallation | None:
    """What stands below `root`, None where no server of that flavour runs there."""
    found = MysqlInstallation((0, 0), flavour, root)
    try:
        told = subprocess.run([*found.command(SERVER[flavour]), "--version"], capture_output=True, text=True, check=False).stdout
    except (ClusterError, OSError):
        return None
    version = re.search(r"Ver (\d+)\.(\d+)", told)
    if version is None or ("MariaDB" in told) != (flavour == "mariadb"):
        return None
    return MysqlInstallation((int(version[1]), int(version[2])), flavour, root)


def cache_directory() -> Path:
    """Where fetched servers lie. Root's lie where the unprivileged account that they run under can reach them."""
    if os.geteuid() == 0:
        return Path("/var/cache/headwater")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headwater"
