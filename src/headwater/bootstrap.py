"""The composition root: settings -> adapters -> services -> API. It alone sees everything, and nobody imports it."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path

from headwater import cli
from headwater.domain.errors import HeadwaterError
from headwater.services.setup import FirstAccess, initialise
from headwater.settings import Settings, SettingsError
from headwater.store import SqlStore, migrate

KEY_FILE = "secret.key"
KEY_BYTES = 32


def main() -> None:
    """The console script: run the command line, and tell errors that we understand in one sentence instead of a traceback."""
    try:
        cli.app(obj=Composition())
    except HeadwaterError as error:
        sys.stderr.write(f"headwater: {error}\n")
        sys.exit(2 if isinstance(error, SettingsError) else 1)


class Composition:
    """Does what the command line asks for (see `cli.Program`)."""

    def init(self, settings: Settings) -> FirstAccess:
        """See `cli.Program.init`. May be repeated, also after a crash half-way: it makes what is missing."""
        _make_private(settings.data_dir)
        migrate(settings.metadata_url)
        key = read_key(settings)
        with ExitStack() as stack:
            store = SqlStore(settings.metadata_url, key or bytes(KEY_BYTES))
            stack.callback(store.close)
            if key is None:
                if store.first_user() is not None:
                    raise missing_key(settings)
                store = SqlStore(settings.metadata_url, make_key(settings.data_dir / KEY_FILE))
                stack.callback(store.close)
            return initialise(store)

    def serve(self, settings: Settings) -> None:
        """See `cli.Program.serve`."""
        raise NotImplementedError


def read_key(settings: Settings) -> bytes | None:
    """The key that encrypts saved passwords: from the settings, or from its file; None where there is no file.

    Raises:
        SettingsError: the file can be read by others, or not by us.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    file = settings.data_dir / KEY_FILE
    try:
        if file.stat().st_mode & 0o077:
            raise SettingsError(f"The key file {file} can be read by others; run: chmod 600 {file}")
        return file.read_bytes().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"The key file {file} can't be read: {error.strerror}.") from None


def make_key(file: Path) -> bytes:
    """Make the key file, on disk for certain before anything is encrypted with it."""
    key = secrets.token_hex(KEY_BYTES).encode()
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as output:
        output.write(key + b"\n")
        output.flush()
        os.fsync(output.fileno())
    draft.rename(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return key


def missing_key(settings: Settings) -> SettingsError:
    """The metadata is there, the key is not."""
    return SettingsError(
        f"The metadata holds passwords encrypted with a key, and there is no {settings.data_dir / KEY_FILE}: "
        f"put the file back, or set HEADWATER_SECRET_KEY to its content."
    )


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The data directory {directory} can't be made: {error.strerror}.") from None
