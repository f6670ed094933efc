"""Fetches real servers to test against: `python -m headwater.clusters.fetch_servers` for MySQL, with `mariadb` for two more MariaDBs.

Debian's stable releases hold no MySQL, its suite `unstable` does; and each of its releases holds another MariaDB. Their packages are
fetched by apt with a configuration of its own, from the mirror that this machine already uses, and verified by apt against the keys that
this machine already trusts. They are unpacked with all the libraries that they need into a directory of ours. Nothing is installed, and
the machine's own apt learns nothing of it.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headwater.clusters.mysql_installations import Flavour, MysqlInstallation, cache_directory, fetched, installed
from headwater.clusters.server import ClusterError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
UNNEEDED = ("perl", "libperl", "gcc-", "debconf", "dpkg", "tar_")
"""Beginnings of packages that they depend on, but that no program of ours needs."""
TIMEOUT_S = 600


@dataclass(frozen=True)
class Wanted:
    """A server of a suite of Debian. `packages` come with all that they depend on, `more` without. `megabytes`: of downloads."""

    flavour: Flavour
    version: tuple[int, int] | None
    suite: str
    packages: tuple[str, ...]
    more: tuple[str, ...]
    megabytes: int

    @property
    def name(self) -> str:
        """For people."""
        product = "MySQL" if self.flavour == "mysql" else "MariaDB"
        return f"{product} {'.'.join(map(str, self.version))}" if self.version else product


MYSQL = Wanted("mysql", None, "unstable", ("mysql-server-core", "mysql-client-core"), (), 65)
OLDEST_MARIADB = Wanted(
    "mariadb",
    (10, 5),
    "bullseye",
    ("mariadb-server-core-10.5", "mariadb-client-core-10.5"),
    ("mariadb-server-10.5", "mariadb-client-10.5"),
    25,
)
NEWEST_MARIADB = Wanted(
    "mariadb", (11, 8), "trixie", ("mariadb-server-core", "mariadb-client-core"), ("mariadb-server", "mariadb-client"), 35
)
SERVERS: dict[Flavour, tuple[Wanted, ...]] = {"mysql": (MYSQL,), "mariadb": (OLDEST_MARIADB, NEWEST_MARIADB)}
"""What the command's arguments stand for. MariaDB in between is Debian's own, where this machine is a Debian 12."""


def main(arguments: Sequence[str] = ()) -> int:
    """Fetch what is not there already; says what it does. Returns 1 where something can't be had, 2 for arguments that mean nothing."""
    unknown = [name for name in arguments if name not in SERVERS]
    if unknown:
        _say(f"!!! {unknown[0]} can't be fetched; {' and '.join(sorted(SERVERS))} can")
        return 2
    wanted = [one for flavour, servers in SERVERS.items() if flavour in (arguments or ("mysql",)) for one in servers]
    return max([_have(one) for one in wanted])


def _have(wanted: Wanted) -> int:
    try:
        with _alone(cache_directory()):
            if not _found(wanted):
                _say(
                    f"==> fetching {wanted.name} of Debian {wanted.suite} for the tests: into a private directory, nothing is installed "
                    f"({wanted.megabytes} MB)"
                )
                made = fetch(wanted, cache_directory())
                _say(f"    {made.name} is in {made.root}")
    except (ClusterError, OSError, subprocess.SubprocessError) as error:
        _say(f"!!! {wanted.name} can't be fetched here: {error}")
        _say("!!! The tests that need it are skipped; their count stands at the end of the run.")
        return 1
    return 0


def _found(wanted: Wanted) -> bool:
    """Whether it is there: any version, where none is wanted in particular."""
    return any(wanted.version in (None, one.version) for one in fetched(wanted.flavour))


def fetch(wanted: Wanted, cache: Path) -> MysqlInstallation:
    """Fetch and unpack a server into a directory below `cache`.

    Raises:
        ClusterError: this is no Debian, its mirror does not have it, or what came does not run.
        OSError, SubprocessError: apt or dpkg are missing, take too long, or the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as work:
        packages = _download(Path(work), mirror(), wanted)
        draft = Path(work) / "draft"
        draft.mkdir()
        for package in packages:
            if not package.name.startswith(UNNEEDED):
                _run("dpkg-deb", "-x", str(package), str(draft / "root"))
        for directory in (draft, draft / "root"):
            directory.chmod(0o755)  # the server may run under another account
        if installed(wanted.flavour, draft / "root") is None:
            raise ClusterError("the server that was fetched does not run here")
        home = cache / _name_of(packages, wanted)
        shutil.rmtree(home, ignore_errors=True)  # an older one that no longer runs
        draft.rename(home)
    found = installed(wanted.flavour, home / "root")
    assert found is not None
    return found


def mirror() -> str:
    """The address of the Debian archive that this machine's apt is set up for.

    Raises:
        ClusterError: there is none.
    """
    try:
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        codename = ""
    told = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    for line in told.splitlines():
        address, _, place = line.partition(" ")
        if codename and place == f"{codename} main":
            return address
    raise ClusterError("apt is not set up for a Debian archive")


def _download(work: Path, address: str, wanted: Wanted) -> list[Path]:
    """The packages with all that they depend on, whatever this machine has installed."""
    for directory in ("lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True)
    (work / "status").touch()
    source = f"Types: deb\nURIs: {address}\nSuites: {wanted.suite}\nComponents: main\nSigned-By: {KEYRING}\n"
    (work / "suite.sources").write_text(source)
    places = {
        "Dir::Etc::sourcelist": work / "suite.sources",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": work,
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root",  # the directory is ours alone
        "Acquire::Retries": 2,
        "Acquire::http::Timeout": 30,
    }
    options = [f"-o{name}={value}" for name, value in places.items()]
    _run("apt-get", *options, "--error-on=any", "--quiet=2", "update")
    archives = work / "cache/archives"
    _run("apt-get", *options, "--quiet=2", "--yes", "--download-only", "--no-install-recommends", "install", *wanted.packages)
    if wanted.more:
        _run("apt-get", *options, "--quiet=2", "download", *wanted.more, directory=archives)
    return sorted(archives.glob("*.deb"))


def _name_of(packages: list[Path], wanted: Wanted) -> str:
    """Directory name after the server's package, `mysql-9.7.4-2`."""
    version = next(package.name.split("_")[1] for package in packages if package.name.startswith(f"{wanted.packages[0]}_"))
    return f"{wanted.flavour}-{version.rpartition('%3a')[2].replace('%', '')}"


def _run(*command: str, directory: Path | None = None) -> str:
    made = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env={**os.environ, "LC_ALL": "C"}, cwd=directory
    )
    if made.returncode != 0:
        raise ClusterError(f"{command[0]} failed: {made.stderr.strip()[-500:]}")
    return made.stdout


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Hold the cache's lock, so that two runs fetch once."""
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - make's user reads it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
