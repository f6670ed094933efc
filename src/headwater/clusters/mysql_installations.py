"""Where binaries of MariaDB and MySQL lie: in this machine's own directories, or unpacked in a private one (see `fetch_mysql`).

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
LOADERS = "usr/lib/*/ld-linux-*.so.*"


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
        share = self.root / "usr/share/mysql"
        plugins = self.root / "usr/lib/mysql/plugin"
        return [f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}", f"--plugin-dir={plugins}"]

    def _loader(self) -> list[str]:
        if self.root == SYSTEM:
            return []
        loader = next(iter(sorted(self.root.glob(LOADERS))), None)
        if loader is None:
            raise ClusterError(f"{self.name} below {self.root} has no dynamic loader.")
        return [str(loader), "--library-path", str(loader.parent)]


def find_mariadb() -> list[MysqlInstallation]:
    """The MariaDB installation of this machine; empty where there is none that can make private servers."""
    found = installed("mariadb", "mariadbd")
    return [found] if found is not None and found.has("mariadb-install-db") else []


def find_mysql() -> list[MysqlInstallation]:
    """The MySQL installations at hand, oldest first: this machine's own, and those that `fetch_mysql` has fetched."""
    roots = [SYSTEM, *sorted(cache_directory().glob("mysql-*/root"))]
    return sorted(filter(None, (installed("mysql", "mysqld", root) for root in roots)))


def installed(flavour: Flavour, program: str, root: Path = SYSTEM) -> MysqlInstallation | None:
    """What stands below `root`, None where no server of that flavour runs there."""
    found = MysqlInstallation((0, 0), flavour, root)
    try:
        told = subprocess.run([*found.command(program), "--version"], capture_output=True, text=True, check=False).stdout
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
