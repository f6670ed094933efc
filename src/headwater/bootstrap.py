"""The composition root: settings -> adapters -> services -> API. It alone sees everything, and nobody imports it."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import structlog
import uvicorn

from headwater import adapters, logs
from headwater.api.app import create_app
from headwater.api.server import HTTP_OPTIONS
from headwater.api.services import Services
from headwater.domain.errors import HeadwaterError
from headwater.engine.control import SystemClock
from headwater.engine.knock import Knocker
from headwater.engine.local_runtime import LocalRuntime
from headwater.engine.orders import VerifyLoad
from headwater.engine.supervisor import Supervisor
from headwater.engine.tidy import Tidy
from headwater.engine.wishes import Terms
from headwater.ports.journal import Retention
from headwater.ports.store import Store
from headwater.sealing import RowSeal, row_key
from headwater.services.access import Access
from headwater.services.creation import TableCreation
from headwater.services.data_sources import Connections, DataSources
from headwater.services.dirty_rows import DirtyRowsAside
from headwater.services.locks import TaskLocks
from headwater.services.mappings import Mappings
from headwater.services.monitoring import Monitoring
from headwater.services.resets import Resets
from headwater.services.setup import FirstAccess, initialise
from headwater.services.tasks import Tasks
from headwater.services.verifications import Verifications
from headwater.services.vitals import Vitals
from headwater.settings import Settings, SettingsError
from headwater.store import SqlStore, check, migrate

KEY_FILE = "secret.key"
KEY_BYTES = 32
LOCK_FILE = "service.lock"
BACKLOG = 512
UMASK = 0o077

REQUESTS_END_S = 2
"""How long requests under way may take to end when the service stops; together with `stop_timeout_s` less than ten seconds."""

log = structlog.get_logger("headwater.service")


def init(settings: Settings) -> FirstAccess:
    """Make what is not there yet: the data directory, the key, the metadata, the first access. May be repeated, also after a crash
    half-way.

    Raises:
        HeadwaterError: the settings do not fit what is there, or the metadata can't be reached.
    """
    os.umask(UMASK)
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
        store.check_key()
        return initialise(store)


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT; returns once the workers are drained.

    Raises:
        HeadwaterError: it can't start: not initialised, another schema, another service on the same directory, address taken.
    """
    os.umask(UMASK)
    logs.configure(settings.log.level, settings.log.format)
    check(settings.metadata_url)
    key = read_key(settings)
    if key is None:
        raise missing_key(settings)
    with ExitStack() as stack:
        stack.enter_context(alone(settings.data_dir))
        listener = stack.enter_context(listen(settings.host, settings.port))
        store = SqlStore(settings.metadata_url, key)
        stack.callback(store.close)
        store.check_key()
        run(assemble(settings, store, key), listener, settings)


@dataclass(frozen=True)
class Parts:
    """The service, put together and not yet started."""

    supervisor: Supervisor
    services: Services


def assemble(settings: Settings, store: Store, key: bytes) -> Parts:
    """Put the service together over an open store. Starts no thread that does anything and connects to nothing."""
    clock = SystemClock()
    journal_dir = partial(adapters.journal_directory, settings.data_dir)
    open_journal = adapters.journal_opener(settings.data_dir)
    connections = Connections(adapters.source_of, adapters.target_of, adapters.KINDS, adapters.default_schema)
    runtime, knocker = LocalRuntime(), Knocker()

    def complete_resets() -> frozenset[str]:  # resets need the supervisor, which needs them
        return resets.roll_forward()

    supervisor = Supervisor(
        store,
        runtime,
        Terms(journal_dir, retention(settings), settings.snapshot.streams, settings.stall_after_s, verify_load(settings), row_key(key)),
        Tidy(store, adapters.source_of, adapters.target_of, journal_dir),
        complete_resets,
        clock,
        knocker,
        adapters.knock,
    )
    runtime.on_change = knocker.on_answer = supervisor.nudge
    locks = TaskLocks()
    verifications = Verifications(store, locks, now_ms, supervisor.nudge, after_reset=settings.verify.after_reset)
    resets = Resets(store, connections, open_journal, supervisor, locks, now_ms, supervisor.nudge, verifications.reset_done)
    mappings = Mappings(store, connections, locks, now_ms)
    services = Services(
        access=Access(store, now_ms),
        data_sources=DataSources(store, connections, now_ms, supervisor.nudge),
        tasks=Tasks(store, connections, mappings, resets, locks, now_ms, supervisor.nudge),
        mappings=mappings,
        resets=resets,
        monitoring=Monitoring(store, supervisor, open_journal, now_ms, connections),
        verifications=verifications,
        creation=TableCreation(store, connections),
        vitals=Vitals(store, supervisor),
        dirty_rows=DirtyRowsAside(store, connections, RowSeal(row_key(key)), clock.now_us),
        ready=lambda: unready(store, supervisor),
    )
    return Parts(supervisor, services)


def run(parts: Parts, listener: socket.socket, settings: Settings) -> None:
    """Serve until a signal; then no new requests, those under way answered, workers drained to a commit and ended."""
    config = uvicorn.Config(
        create_app(parts.services),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=REQUESTS_END_S,
        **HTTP_OPTIONS,
    )
    server = uvicorn.Server(config)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)  # uvicorn takes both over while it serves, and raises them once more when it has ended
    parts.supervisor.start()
    try:
        host, port = listener.getsockname()[:2]
        log.info("serving", address=f"http://{f'[{host}]' if ':' in host else host}:{port}", data_dir=str(settings.data_dir))
        server.run(sockets=[listener])
    finally:
        log.info("stopping", drain_s=settings.stop_timeout_s)
        parts.supervisor.close(settings.stop_timeout_s)
        log.info("stopped")


def unready(store: Store, supervisor: Supervisor) -> list[str]:
    """What keeps the service from being ready, in words."""
    reasons = [] if supervisor.running else ["The supervisor does not run."]
    try:
        store.ping()
    except HeadwaterError as error:
        reasons.append(str(error))
    return reasons


def retention(settings: Settings) -> Retention:
    """The journal's settings as the journal takes them."""
    return Retention(settings.journal.age_s * 1_000_000, settings.journal.bytes_max, settings.journal.bytes_hard)


def verify_load(settings: Settings) -> VerifyLoad:
    """The limits of verifications as their workers take them."""
    return VerifyLoad(**settings.verify.model_dump(exclude={"after_reset"}))


def now_ms() -> int:
    """Milliseconds since 1970, UTC, by this machine's clock."""
    return time.time_ns() // 1_000_000


@contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: two services on one would fight over journals and workers.

    Raises:
        SettingsError: another service holds it.
    """
    file = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SettingsError(f"Another service runs on the data directory {data_dir}; stop it first.") from None
    finally:
        os.close(file)


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on.

    Raises:
        SettingsError: the address is taken, or is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"The API can't listen on {host} port {port}: {error.strerror or error}. Choose others by --host and --port."
        ) from None


def read_key(settings: Settings) -> bytes | None:
    """The key that encrypts saved passwords: from the settings, or from its file; None where there is no file.

    Raises:
        SettingsError: the file can be read by others, or not by us.
    """
    if settings.encryption_key is not None:
        return settings.encryption_key.get_secret_value().encode()
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
        f"put the file back, or set HEADWATER_ENCRYPTION_KEY to its content."
    )


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The data directory {directory} can't be made: {error.strerror}.") from None
