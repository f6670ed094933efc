"""The metadata store: what users wish, who they are, and what became of it. Times are milliseconds since 1970, UTC.

One process (the service) writes. Every method is one transaction of its own and safe to call from any thread.
Ids are made by the caller; looking up what is not there returns None; deleting it does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headwater.domain.dirty import STOP, DirtyPolicy
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.tables import TableName
from headwater.ports.runtime import VerifiedTable


@dataclass(frozen=True)
class Scope:
    """Whose resources: every look-up by a caller goes through it, so that nobody sees another's."""

    project_id: str
    instance_id: str


@dataclass(frozen=True)
class DataSource:
    """A saved connection. `content` is the API's Content without secrets; `secrets` holds those, decrypted.

    `history` counts how often the log was begun anew with consent (see `Tasks.reset`): a rise allows capture to make a new slot.
    `published` is true from the first capture on until what it made at the source has been dropped again.
    """

    id: str
    scope: Scope
    app_id: str
    name: str
    type: str
    description: str
    content: dict[str, Any]
    secrets: dict[str, str]
    created_ms: int
    modified_ms: int
    history: int = 0
    published: bool = False


@dataclass(frozen=True)
class Task:
    """A combined task: the wish (`wished`), and the fact as last recorded (`state`, `error_kind`, `message`).

    `epoch` is the highest ever given out for it. `state` is one of `domain/lifecycle.py`. `notes`: what the check before its last start
    found that does not keep it from running.
    """

    id: str
    scope: Scope
    name: str
    task_type: str
    description: str
    tag: str
    operations: frozenset[str]
    source_id: str | None
    target_id: str | None
    source_app_id: str
    target_app_id: str
    saved: bool  # false between init and create: the id exists, the task does not yet
    wished: bool  # true: it should run
    state: str
    error_kind: str
    message: str
    epoch: int
    started_once: bool
    created_ms: int
    modified_ms: int
    ext_info: dict[str, Any]
    dirty: DirtyPolicy = STOP
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mapping:
    """A table mapping as the user made it. Table names are `schema.table`."""

    id: str
    task_id: str
    source_table: str
    target_table: str
    columns: tuple[ColumnPair, ...]
    source_columns: tuple[dict[str, str], ...]  # as the API shows them: field_name, field_type, field_length
    target_columns: tuple[dict[str, str], ...]
    pairs: tuple[dict[str, str], ...]  # the API's MappingInfo
    status: str
    percent: int
    updated_ms: int
    revision: int = 0

    def table_mapping(self, operations: frozenset[str]) -> TableMapping:
        """What the data plane works with, for a task that replicates `operations`.

        Its `mapping_id` is `incarnation`, so a mapping whose tables or columns were changed is copied again, and only that one.
        """
        return TableMapping(
            self.incarnation, TableName.parse(self.source_table, ""), TableName.parse(self.target_table, ""), self.columns, operations
        )

    @property
    def incarnation(self) -> str:
        """The mapping's id for the data plane: another one after each change (`revision` counts them) of what it copies."""
        return f"{self.id}.{self.revision}" if self.revision else self.id


@dataclass(frozen=True)
class Run:
    """One incarnation of a task under one epoch, with what it did."""

    id: str
    task_id: str
    epoch: int
    started_ms: int
    ended_ms: int | None
    outcome: str  # running, stopped, or a kind of the failure table
    message: str
    counters: dict[str, Any]
    notes: tuple[str, ...] = ()  # of the task, as they were at its start


@dataclass(frozen=True)
class Reset:
    """One reset, from the wish to the outcome (P6).

    `asked_ms` None: from the beginning. `outcome`: accepted (durable, effect still to come), done, refused, failed.
    `from_offset` is where the task stood, `to_offset` where it was sent (None: a fresh copy)."""

    id: str
    task_id: str
    by: str
    accepted_ms: int
    asked_ms: int | None
    effective_us: int | None
    from_offset: int | None
    to_offset: int | None
    epoch: int
    outcome: str
    message: str
    done_ms: int | None


@dataclass(frozen=True)
class Leftover:
    """Something of ours in a database that could not be removed when it was due: the checkpoint of a deleted task at its target.

    On record until it is removed, so that nothing is left behind silently. `message` says why it could not be removed."""

    id: str
    data_source_id: str
    task_id: str
    since_ms: int
    message: str


@dataclass(frozen=True)
class Verification:
    """One comparison of a task's target with its source, from the wish to what came out.

    `outcome`: waiting (to begin), running; at the end equal, repaired, different, unsettled, failed or cancelled (see `message`).
    `after_reset`: it was wished by a reset, and begins once the task follows again. `offset`: what the task had applied before it
    is proved equal. `tables` hold keys of rows, so they are encrypted at rest.
    """

    id: str
    task_id: str
    by: str
    repair: bool
    after_reset: bool
    asked_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None
    outcome: str = "waiting"
    message: str = ""
    offset: int | None = None
    rows_per_s: float = 0.0
    tables: tuple[VerifiedTable, ...] = ()

    @property
    def open(self) -> bool:
        """True until it has ended."""
        return self.ended_ms is None


class TaskStore(Protocol):
    """What the supervisor and the task services need."""

    def task(self, task_id: str, scope: Scope | None = None) -> Task | None:
        """One task; with `scope` only if it belongs there."""

    def tasks(self, scope: Scope | None = None) -> list[Task]:
        """All saved tasks, oldest first."""

    def save_task(self, task: Task) -> None:
        """Insert, or replace all but `epoch`, `wished`, `state`, `error_kind`, `message`, `started_once`, `notes`: those have their own
        methods."""

    def wish(self, task_id: str, running: bool) -> bool:
        """Set the wish; False where it was so already or there is no such task.

        A wish to run clears the recorded error and records `starting`, so that a failed task (still wished to run) can be
        wished again: that is True, not "so already". A wish to stop records nothing; the supervisor does."""

    def record_state(self, task_id: str, state: str, error_kind: str = "", message: str = "") -> None:
        """Record the fact."""

    def record_notes(self, task_id: str, notes: tuple[str, ...]) -> None:
        """Record what the check before a start found."""

    def next_epoch(self, task_id: str) -> int:
        """Raise the epoch by one, durably, and return it; also marks the task as started once. HeadwaterError for a missing task."""

    def delete_task(self, task_id: str) -> None:
        """Remove the task with its mappings, runs, resets and verifications."""

    def drop_drafts(self, before_ms: int) -> None:
        """Remove the tasks that were never saved (init without create) and not changed since `before_ms`."""

    def mappings(self, task_id: str) -> list[Mapping]:
        """Its mappings, oldest first."""

    def mappings_by_task(self) -> dict[str, list[Mapping]]:
        """The mappings of all tasks, by task id, each oldest first; tasks without any are missing. One query: the supervisor asks
        each second."""

    def save_mapping(self, mapping: Mapping) -> None:
        """Insert or replace."""

    def save_mappings(self, mappings: Sequence[Mapping]) -> None:
        """Insert or replace several in one transaction, in order."""

    def delete_mapping(self, task_id: str, mapping_id: str) -> bool:
        """Remove one; False where there was none."""


class HistoryStore(Protocol):
    """Runs and resets. What belongs to a task that is gone is not written, without an error: its last run may end after it."""

    def save_run(self, run: Run) -> None:
        """Insert or replace. Implementations may drop the oldest runs of a task beyond some hundreds."""

    def runs(self, task_id: str, limit: int, offset: int = 0) -> list[Run]:
        """Newest first."""

    def accept_reset(self, reset: Reset) -> Reset | None:
        """Raise the task's epoch by one and insert the reset with that epoch and outcome `accepted`, in one transaction (P6).

        Returns the reset as stored; None, with nothing written, where there is no such task. Whoever starts a run must, *after*
        `next_epoch`, look for an accepted reset and complete it instead of starting: then no run can get in between.
        """

    def save_reset(self, reset: Reset) -> None:
        """Insert or replace."""

    def resets(self, task_id: str | None = None, outcome: str | None = None) -> list[Reset]:
        """Newest first."""


class VerificationStore(Protocol):
    """Verifications. What belongs to a task that is gone is not written, without an error."""

    def save_verification(self, verification: Verification) -> None:
        """Insert or replace. One that has ended is never replaced: a cancelled one stays so, whatever its worker still says.

        Implementations may drop the oldest of a task beyond some dozens."""

    def verifications(self, task_id: str | None = None, *, only_open: bool = False, limit: int | None = None) -> list[Verification]:
        """Newest first, at most `limit`."""


class DataSourceStore(Protocol):
    """Data sources; secrets are encrypted at rest by the implementation."""

    def data_source(self, data_source_id: str, scope: Scope | None = None) -> DataSource | None:
        """One data source; with `scope` only if it belongs there."""

    def data_sources(self, scope: Scope | None = None) -> list[DataSource]:
        """All, oldest first."""

    def save_data_source(self, data_source: DataSource) -> None:
        """Insert or replace all but `history` and `published`."""

    def set_published(self, data_source_id: str, published: bool) -> None:
        """Record whether something of ours stands at the source."""

    def renew_history(self, data_source_id: str) -> int:
        """Raise `history` by one and return it."""

    def delete_data_source(self, data_source_id: str) -> None:
        """Remove it with its leftovers."""

    def save_leftover(self, leftover: Leftover) -> None:
        """Insert or replace."""

    def leftovers(self, data_source_id: str | None = None) -> list[Leftover]:
        """What still has to be tidied up, oldest first."""

    def delete_leftover(self, leftover_id: str) -> None:
        """It was tidied up."""


@dataclass(frozen=True)
class AccessKey:
    """An AK/SK pair with its owner. The secret is needed in the clear to check a signature; at rest it is encrypted."""

    access_key: str
    secret_key: str
    user_id: str


@dataclass(frozen=True)
class User:
    """A user of one domain with its project and instance."""

    id: str
    domain_id: str
    domain_name: str
    name: str
    password_hash: str
    scope: Scope
    app_id: str
    app_name: str
    project_name: str


@dataclass(frozen=True)
class Token:
    """An issued token; only its SHA-256 is stored."""

    digest: str
    user_id: str
    issued_ms: int
    expires_ms: int


class AccessStore(Protocol):
    """Who may call."""

    def access_key(self, access_key: str) -> AccessKey | None:
        """One key pair."""

    def user(self, user_id: str) -> User | None:
        """One user by id."""

    def user_by_name(self, domain_name: str, name: str) -> User | None:
        """One user by name."""

    def first_user(self) -> User | None:
        """The user made by `init`; None before it ran."""

    def create_user(self, user: User, key: AccessKey) -> None:
        """Insert a user with its project, instance, application and key. Raises HeadwaterError (`store_exists`) where the name is taken."""

    def app_names(self, scope: Scope) -> dict[str, str]:
        """The integration applications of one instance: id to name."""

    def save_token(self, token: Token) -> None:
        """Insert a token and remove expired ones."""

    def token(self, digest: str) -> Token | None:
        """One token by the SHA-256 of its text, expired or not."""


class Store(TaskStore, HistoryStore, VerificationStore, DataSourceStore, AccessStore, Protocol):
    """All of it."""

    def ping(self) -> None:
        """Returns when the store can be reached; raises otherwise."""

    def close(self) -> None:
        """Let go. Idempotent."""
