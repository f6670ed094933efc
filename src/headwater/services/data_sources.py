"""Data sources: the saved connections, and what one can see through them.

Content comes in as the API's `Content` with its secrets in the clear; secrets are split off at once, stored encrypted and never
given back. Fields that we don't use are kept as they came. Only kinds with an adapter are accepted.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from headwater.domain.errors import HeadwaterError
from headwater.domain.tables import Column, TableName
from headwater.ports.source import Source
from headwater.ports.store import DataSource, Scope, Store, Task
from headwater.ports.target import Target
from headwater.services import bounded, checks, content
from headwater.services.errors import ServiceError, invalid, refusal, unknown_data_source
from headwater.services.pages import Page, page

log = logging.getLogger(__name__)

Side = Literal["SOURCE", "TARGET"]
T = TypeVar("T")
U = TypeVar("U")

DEFAULT_SCHEMA = "public"
"""PostgreSQL's schema of a bare table name. Names that are saved are never bare."""

ALIASES = {"POSTGRESQL/OPENGAUSS": "POSTGRESQL"}
"""Display names that the documents use for a type."""

DATABASE_TIMEOUT_S = 20.0
"""How long a request waits for a database: the SDK waits 120 s, a person less."""

TABLE_CHARS_MAX = 2 * (2 * content.SCHEMA_CHARS_MAX + 2) + 1
"""The longest `schema.table`: two names, quoted, with each of them a quotation mark that is written twice."""

RELEASE_TIMEOUT_S = 45.0
"""How long deleting a data source waits for the supervisor to drop what stands at the source, which it tries every 30 s."""

_NAME = re.compile(r"[^&<>\"'()]{1,255}")
_TYPE = re.compile(r"([^(]+?)\s*\(\s*(\d+)\s*(?:,\s*(-?\d+)\s*)?\)(.*)", re.DOTALL)


@dataclass(frozen=True)
class DataSourceForm:
    """What a caller sends to create, update or test a data source. `content` holds secrets: never log it."""

    name: str
    type: str
    app_id: str
    content: dict[str, Any] = field(repr=False)
    description: str = ""


@dataclass(frozen=True)
class DataSourceView:
    """A data source as it is shown: `content` without secrets. Times in ms since 1970, UTC."""

    id: str
    name: str
    type: str
    app_id: str
    app_name: str
    instance_id: str
    description: str
    content: dict[str, Any]
    created_ms: int
    modified_ms: int


@dataclass(frozen=True)
class DataSourceFilter:
    """Which data sources to list; None or an empty text lets everything through. `name` matches a part, in any case."""

    type: str | None = None
    name: str | None = None
    app_id: str | None = None
    custom_plugin_id: str | None = None  # we have no custom connectors: any value matches nothing
    customized: bool | None = None  # likewise: true matches nothing
    ascending: bool = False  # by creation time; the contract's default is newest first


@dataclass(frozen=True)
class ColumnView:
    """A column as the API shows it: the bare type, with its length and decimal places apart (None where it has none)."""

    name: str
    type: str
    length: str | None
    decimal_digits: str | None
    nullable: bool
    key: bool


@dataclass(frozen=True)
class Connections:
    """How services reach databases; making a Source or Target connects to nothing. `kinds` are the types with an adapter, `schema` tells
    where a bare table name lies in a data source."""

    source: Callable[[DataSource], Source]
    target: Callable[[DataSource], Target]
    kinds: tuple[str, ...] = ("POSTGRESQL",)
    schema: Callable[[DataSource], str] = lambda _: DEFAULT_SCHEMA


def column_view(column: Column) -> ColumnView:
    """A column with its type taken apart: `numeric(12,2)` is numeric, 12, 2."""
    found = _TYPE.fullmatch(column.type)
    if found is None:
        return ColumnView(column.name, column.type, None, None, column.nullable, column.key)
    name, length, digits, rest = found.groups()
    return ColumnView(column.name, name + rest, length, digits, column.nullable, column.key)


def table_name(parameter: str, written: str, schema: str = DEFAULT_SCHEMA) -> TableName:
    """A table's name as a caller wrote it; a bare one is in `schema`. Raises FDI.3033."""
    checks.text(parameter, written, shortest=1, longest=TABLE_CHARS_MAX)
    try:
        return TableName.parse(written, schema)
    except ValueError as error:
        raise invalid(parameter, f"{error}.") from None


class DataSources:
    """The use cases on data sources. Every method raises ServiceError (see `errors.py`); unknown ids are FDI.3033 with 404.

    `pause` is how the wait for the end of a capture sleeps; tests replace it."""

    def __init__(
        self,
        store: Store,
        connections: Connections,
        now_ms: Callable[[], int],
        nudge: Callable[[], None] = lambda: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._connections = connections
        self._now_ms = now_ms
        self._nudge = nudge
        self._pause = pause

    def create(self, scope: Scope, form: DataSourceForm) -> DataSourceView:
        """Save a new data source; nothing is connected to."""
        now = self._now_ms()
        blank = DataSource(uuid.uuid4().hex, scope, "", "", self._kind(form.type), "", {}, {}, now, now)
        made = self._filled(blank, form)
        self._store.save_data_source(made)
        return self._view(made)

    def find(self, scope: Scope, wanted: DataSourceFilter, limit: int, offset: int) -> Page[DataSourceView]:
        """The matching data sources; `offset` counts rows from 0."""
        names = self._store.app_names(scope)
        found = [self._view(one, names) for one in self._store.data_sources(scope) if _matches(one, wanted)]
        return page(found if wanted.ascending else found[::-1], limit, offset)

    def show(self, scope: Scope, data_source_id: str) -> DataSourceView:
        """One data source."""
        return self._view(self._known(scope, data_source_id))

    def update(self, scope: Scope, data_source_id: str, form: DataSourceForm) -> DataSourceView:
        """Replace all but the type; secrets that are left out (or empty) keep their old value.

        A new user or password reaches running workers at once. Another server or database is refused while a task that uses
        it runs (FDI.3023), and, while its log is captured, unless the new one keeps our place in its log (FDI.3033)."""
        old = self._known(scope, data_source_id)
        if self._kind(form.type) != old.type:
            raise invalid("datasource_type", f"this is a {old.type} data source; make a new one for another type.")
        new = replace(self._filled(old, form), modified_ms=self._now_ms())
        if server(old) != server(new):
            self._refuse_move(old, new)
        self._store.save_data_source(new)
        self._nudge()
        return self._view(new)

    def delete(self, scope: Scope, data_source_id: str, force: bool = False) -> None:
        """Remove it, after what we made at the source has been dropped.

        Refused with FDI.3033 while a task uses it (the message names the tasks), or where our slot and publication can't be
        dropped at the source (the message says why). `force` deletes all the same and logs what is left behind there."""
        found = self._known(scope, data_source_id)
        users = self._users(found)
        if users:
            names = ", ".join(task.name for task in users[:5]) + (", ..." if len(users) > 5 else "")
            raise invalid("datasource_id", f"the data source is used by {len(users)} task(s) ({names}); delete them first.")
        self._release(found, force)
        self._forget_leftovers(found)
        self._store.delete_data_source(found.id)

    def test_connect(self, scope: Scope, data_source_id: str, form: DataSourceForm | None = None) -> bool:
        """Connect with the saved connection, or with the changed one in `form` before it is saved; true when it works.

        Raises FDI.3016 with the server's reason (without secrets) when it doesn't."""
        found = self._known(scope, data_source_id)
        if form is not None:
            found = self._filled(found, form)
        try:
            bounded.within(DATABASE_TIMEOUT_S, "test of the connection", self._connections.source(found).test)
        except HeadwaterError as error:
            raise refusal("FDI.3016", str(error)) from error
        return True

    def tables(self, scope: Scope, data_source_id: str, side: Side, part: str = "") -> list[str]:
        """Names `schema.table` of the tables that can be mapped, in order; `part` filters by a part of the name in any case."""
        place = self._place(scope, data_source_id, side)
        return [str(name) for name in ask(place.tables, "listing of tables") if checks.contains(part, str(name))]

    def columns(self, scope: Scope, data_source_id: str, side: Side, table: str) -> list[ColumnView]:
        """The columns of one table. Raises FDI.3033 `[table_name]` where there is no such table."""
        place = self._place(scope, data_source_id, side)
        name = table_name("table_name", table, self._connections.schema(self._known(scope, data_source_id)))
        schema = ask(lambda: place.describe([name]), "description of a table").get(name)
        if schema is None:
            raise invalid("table_name", f"there is no table {name} that this user can see; list the tables, and write schema.table.")
        return [column_view(column) for column in schema.columns]

    def _place(self, scope: Scope, data_source_id: str, side: Side) -> Source | Target:
        found = self._known(scope, data_source_id)
        return self._connections.source(found) if side == "SOURCE" else self._connections.target(found)

    def _known(self, scope: Scope, data_source_id: str) -> DataSource:
        found = self._store.data_source(data_source_id, scope)
        if found is None:
            raise unknown_data_source()
        return found

    def _kind(self, written: str) -> str:
        kind = ALIASES.get(written.strip().upper(), written.strip().upper())
        if kind not in self._connections.kinds:
            raise invalid("datasource_type", f"supported here: {', '.join(self._connections.kinds)}.")
        return kind

    def _filled(self, old: DataSource, form: DataSourceForm) -> DataSource:
        """The data source with a caller's checked values in it; secrets that are left out stay."""
        if not _NAME.fullmatch(form.name) or not form.name.strip():
            raise invalid("datasource_name", "write 1 to 255 characters without any of & < > \" ' ( ).")
        if form.app_id not in self._store.app_names(old.scope):
            raise invalid("app_id", "there is no such integration application in this instance.")
        shown, secrets = content.split(content.relational(form.content, old.type))
        return replace(
            old,
            name=checks.text("datasource_name", form.name, shortest=1, longest=255),
            app_id=form.app_id,
            description=checks.description(form.description),
            content=shown,
            secrets=old.secrets | secrets,
        )

    def _view(self, found: DataSource, names: dict[str, str] | None = None) -> DataSourceView:
        names = self._store.app_names(found.scope) if names is None else names
        shared = {name: getattr(found, name) for name in DataSourceView.__dataclass_fields__ if name not in {"app_name", "instance_id"}}
        return DataSourceView(app_name=names.get(found.app_id, ""), instance_id=found.scope.instance_id, **shared)

    def _users(self, found: DataSource) -> list[Task]:
        return [task for task in self._store.tasks(found.scope) if found.id in (task.source_id, task.target_id)]

    def _refuse_move(self, old: DataSource, new: DataSource) -> None:
        users = self._users(old)
        running = [task.name for task in users if task.wished and task.state != "failed"]
        if running:
            raise refusal("FDI.3023", f"{running[0]} uses this data source; stop it before you lead it to another server or database.")
        if not old.published:
            return
        names = {m.source_table for task in users if task.source_id == old.id for m in self._store.mappings(task.id)}
        tables = sorted(TableName.parse(name, DEFAULT_SCHEMA) for name in names)
        moved = self._connections.source(new)
        if not ask(lambda: moved.published(tables), "look for our place in the log"):
            raise invalid(
                "host",
                "the new server does not keep our place in its log (it has no slot of ours), so tasks could not go on from there. "
                "Make a new data source with new tasks, or delete the tasks that read from this one first.",
            )

    def _release(self, found: DataSource, force: bool) -> None:
        """Wait until the supervisor has dropped our slot and publication: it knows when the capture that uses them has ended.

        A source that can't be reached is told at once instead of waited for."""
        deadline = time.monotonic() + RELEASE_TIMEOUT_S
        while found.published:
            self._nudge()
            try:
                bounded.within(DATABASE_TIMEOUT_S, "dropping our slot", self._connections.source(found).test)
                late = "This is still under way; delete it again in a moment." if time.monotonic() >= deadline else ""
            except HeadwaterError as error:
                late = f"{error} Delete it again when the source can be reached."
            if late and force:
                log.warning("slot_left_behind", extra={"data_source_id": found.id, "reason": late})
                return
            if late:
                raise invalid(
                    "datasource_id", f"our slot and publication must be dropped at the source first, or they keep its log for ever. {late}"
                )
            self._pause(0.25)
            found = self._store.data_source(found.id) or replace(found, published=False)

    def _forget_leftovers(self, found: DataSource) -> None:
        """Remove checkpoints of tasks that were deleted while this target was out of reach; they do no harm if it still is."""
        for leftover in self._store.leftovers(found.id):
            target, task_id = self._connections.target(found), leftover.task_id
            try:
                bounded.within(DATABASE_TIMEOUT_S, "forgetting a deleted task", lambda t=target, i=task_id: t.forget(i))  # type: ignore[misc]
            except HeadwaterError as error:
                log.warning("checkpoint_left_behind", extra={"task_id": task_id, "data_source_id": found.id, "reason": str(error)})
                return


def ask(call: Callable[[], T], what: str) -> T:
    """A bounded question to a database; a database that can't be reached is FDI.3016 with its reason."""
    try:
        return bounded.within(DATABASE_TIMEOUT_S, what, call)
    except HeadwaterError as error:
        raise refusal("FDI.3016", str(error)) from error


def ask_both(source: Callable[[], T], target: Callable[[], U], what: str) -> tuple[T, U]:
    """Two questions at the same time, one to each side; errors say which side did not answer."""
    try:
        begun = bounded.begin(source, what), bounded.begin(target, what)
    except HeadwaterError as error:
        raise refusal("FDI.3016", str(error)) from error
    return _answer(begun[0], "source", what), _answer(begun[1], "target", what)


def ask_each(source: Callable[[], T], target: Callable[[], U], what: str) -> tuple[T | ServiceError, U | ServiceError]:
    """As `ask_both`, but a side that does not answer is told beside what the other one said."""
    try:
        begun = bounded.begin(source, what), bounded.begin(target, what)
    except HeadwaterError as error:
        failed = refusal("FDI.3016", str(error))
        return failed, failed
    return _answer_or_error(begun[0], "source", what), _answer_or_error(begun[1], "target", what)


def _answer_or_error(future: Future[T], side: str, what: str) -> T | ServiceError:
    try:
        return _answer(future, side, what)
    except ServiceError as error:
        return error


def _answer(future: Future[T], side: str, what: str) -> T:
    try:
        return bounded.result(future, DATABASE_TIMEOUT_S, what)
    except HeadwaterError as error:
        raise refusal("FDI.3016", f"At the {side}: {error}") from error


def register(store: Store, source_id: str | None, ext_info: dict[str, Any]) -> None:
    """Keep `ext_info.server_id` with the data source whose binlog is read under it: one capture reads for all of its tasks. FDI.3033."""
    found = store.data_source(source_id) if source_id and ext_info.get("server_id") not in (None, "") else None
    if found is None or found.type == "POSTGRESQL":
        return
    wanted = content.server_id(ext_info["server_id"])
    if found.content.get("server_id") != wanted:
        store.save_data_source(replace(found, content={**found.content, "server_id": wanted}))


def server(data_source: DataSource) -> tuple[Any, ...]:
    """What tells one database from another, as far as a saved connection can: host, port, database."""
    return tuple(data_source.content.get(name) for name in ("host", "port", "database_name"))


def _matches(found: DataSource, wanted: DataSourceFilter) -> bool:
    if wanted.custom_plugin_id or wanted.customized:
        return False
    kind = (wanted.type or "").upper()
    return (
        (not kind or found.type == ALIASES.get(kind, kind))
        and checks.contains(wanted.name, found.name)
        and (not wanted.app_id or found.app_id == wanted.app_id)
    )
