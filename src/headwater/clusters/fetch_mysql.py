"""Fetches a real MySQL server to test against: `python -m headwater.clusters.fetch_mysql`.

Debian's stable releases hold no MySQL, its suite `unstable` does. Its packages are fetched by apt with a configuration of its own, from
the mirror that this machine already uses, and verified by apt against the keys that this machine already trusts. They are unpacked with
all the libraries that they need into a directory of ours. Nothing is installed, and the machine's own apt learns nothing of it.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.clusters.mysql_installations import MysqlInstallation, cache_directory, find_mysql, installed
from headwater.clusters.server import ClusterError

PACKAGES = ("mysql-server-core", "mysql-client-core")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
UNNEEDED = ("perl", "libperl", "gcc-")
"""Beginnings of packages that they depend on, but that no program of ours needs."""
TIMEOUT_S = 600


def main() -> int:
    """Fetch it, unless one is there already; says what it does. Returns 1 where it can't be had."""
    try:
        with _alone(cache_directory()):
            found = find_mysql()
            if not found:
                _say("==> fetching MySQL of Debian unstable for the tests: into a private directory, nothing is installed (65 MB)")
                found = [fetch(cache_directory())]
                _say(f"    {found[-1].name} is in {found[-1].root}")
    except (ClusterError, OSError, subprocess.SubprocessError) as error:
        _say(f"!!! MySQL can't be fetched here: {error}")
        _say("!!! The tests that need it are skipped; their count stands at the end of the run.")
        return 1
    return 0


def fetch(cache: Path) -> MysqlInstallation:
    """Fetch and unpack the newest MySQL into a directory below `cache`.

    Raises:
        ClusterError: this is no Debian, its mirror has no MySQL, or what came does not run.
        OSError, SubprocessError: apt or dpkg are missing, take too long, or the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as work:
        packages = _download(Path(work), mirror())
        draft = Path(work) / "draft"
        draft.mkdir()
        for package in packages:
            if not package.name.startswith(UNNEEDED):
                _run("dpkg-deb", "-x", str(package), str(draft / "root"))
        for directory in (draft, draft / "root"):
            directory.chmod(0o755)  # the server may run under another account
        if installed("mysql", "mysqld", draft / "root") is None:
            raise ClusterError("the server that was fetched does not run here")
        home = cache / _name_of(packages)
        shutil.rmtree(home, ignore_errors=True)  # an older one that no longer runs
        draft.rename(home)
    found = installed("mysql", "mysqld", home / "root")
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


def _download(work: Path, address: str) -> list[Path]:
    """The packages with all that they depend on, whatever this machine has installed."""
    for directory in ("lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True)
    (work / "status").touch()
    source = f"Types: deb\nURIs: {address}\nSuites: unstable\nComponents: main\nSigned-By: {KEYRING}\n"
    (work / "unstable.sources").write_text(source)
    places = {
        "Dir::Etc::sourcelist": work / "unstable.sources",
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
    _run("apt-get", *options, "--quiet=2", "--yes", "--download-only", "--no-install-recommends", "install", *PACKAGES)
    return sorted((work / "cache/archives").glob("*.deb"))


def _name_of(packages: list[Path]) -> str:
    """Directory name after the server's package, `mysql-9.7.4-2`."""
    version = next(package.name.split("_")[1] for package in packages if package.name.startswith(f"{PACKAGES[0]}_"))
    return f"mysql-{version.replace('%', '')}"


def _run(*command: str) -> str:
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env={**os.environ, "LC_ALL": "C"})
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
    sys.exit(main())
