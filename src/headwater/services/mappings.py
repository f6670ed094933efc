"""Mappings: which source table fills which target table, column by column, checked against both databases as they are now.

A mapping is refused when it could not be applied: a missing table or column, types that can't hold each other's values, a key
that does not find a row on both sides. Automatic mapping takes what fits by name and says of the rest why it was left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from headwater.domain.errors import HeadwaterError
from headwater.domain.fitting import Fit, by_name, fit, fitting, sharing
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.domain.types import compatible
from headwater.ports.store import DataSource, Mapping, Scope, Store, Task
from headwater.services import checks
from headwater.services.data_sources import Connections, ask, ask_both, column_view, register, server, table_name
from headwater.services.errors import ServiceError, invalid, refusal, unknown_data_source, unknown_task
from headwater.services.locks import TaskLocks
from headwater.services.pages import Page, page
from headwater.services.refitting import as_now, continues, succeeding
from headwater.services.rules import is_running, refusing_the_gone

STOPPED_AT = ("schema_mismatch", "source_refused")
"""Failures whose message names the table at which a task has stopped."""

MAPPINGS_MAX = 2000
"""Mappings of one task; the contract's limit of tables in one automatic mapping."""


@dataclass(frozen=True)
class ColumnForm:
    """A column as callers name it; type and length are optional and only compared by the server's own catalogue."""

    name: str
    type: str = ""
    length: str = ""


@dataclass(frozen=True)
class PairForm:
    """A column pair as callers send it; types and lengths are taken from the databases, whatever is sent."""

    source_column: str
    target_column: str
    source_type: str = ""
    source_length: str = ""
    target_type: str = ""
    target_length: str = ""


@dataclass(frozen=True)
class MappingForm:
    """A mapping as callers send it. No `pairs`: columns are paired by name. A bare table name means the default schema.

    No data source ids: those of the task."""

    source_table: str
    target_table: str
    pairs: tuple[PairForm, ...] = ()
    source_columns: tuple[ColumnForm, ...] = ()
    target_columns: tuple[ColumnForm, ...] = ()
    source_id: str | None = None
    target_id: str | None = None
    ext_info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MappingFilter:
    """Which mappings to list; empty lets everything through. Table names match a part, in any case."""

    source_id: str | None = None
    target_id: str | None = None
    source_table: str | None = None
    target_table: str | None = None
    table_name: str | None = None  # either side


@dataclass(frozen=True)
class Unmapped:
    """A source table, or a column of it, that automatic mapping left out, and why."""

    source_table: str
    reason: str


@dataclass(frozen=True)
class MappingSet:
    """The mappings of one task with the two data sources that they join. `mappings` is one page of them.

    `Mapping.source_columns`, `target_columns` and `pairs` are in the API's member names already (field_name, field_type,
    field_length; source_column, source_column_type, ...)."""

    task_id: str
    source_id: str | None
    source_name: str
    source_type: str
    source_app_id: str
    target_id: str | None
    target_name: str
    target_type: str
    target_app_id: str
    instance_id: str
    ext_info: dict[str, Any]
    mappings: Page[Mapping]
    unmapped: tuple[Unmapped, ...] = ()


class Mappings:
    """The use cases on mappings. All raise ServiceError: FDI.3180 (404) for a task that the caller can't see, FDI.3023 for a
    running task ('stop it first'), FDI.3037 for a mapping that can't be, FDI.3033 for an unknown mapping (404) or data source,
    FDI.3016 where a database can't be asked."""

    def __init__(self, store: Store, connections: Connections, locks: TaskLocks, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._connections = connections
        self._locks = locks
        self._now_ms = now_ms

    def create(self, scope: Scope, task_id: str, form: MappingForm) -> str:
        """Add a mapping to a task (known from init on) and return its id. The first one of a task without data sources sets them."""
        with self._locks.hold(task_id):
            task = self.joined(self._changeable(scope, task_id), form.source_id, form.target_id)
            others = self._store.mappings(task_id)
            if len(others) >= MAPPINGS_MAX:
                raise refusal("FDI.3037", f"A task has at most {MAPPINGS_MAX} mappings; make another task for further tables.")
            blank = Mapping(uuid.uuid4().hex, task_id, "", "", (), (), (), (), "MANUAL", 0, 0)
            made = self._filled(task, blank, form, others)
            self._save(task, made, form.ext_info)
            return made.id

    def find(self, scope: Scope, task_id: str, wanted: MappingFilter, limit: int, offset: int) -> MappingSet:
        """The task's mappings, oldest first; `offset` counts rows from 0."""
        task = self._known(scope, task_id)
        joined = _lets(wanted.source_id, task.source_id) and _lets(wanted.target_id, task.target_id)
        found = [m for m in self._store.mappings(task_id) if joined and _matches(m, wanted)]
        return self.shown(task, page(found, limit, offset))

    def update(self, scope: Scope, task_id: str, mapping_id: str, form: MappingForm) -> str:
        """Replace a mapping and return its id. An empty table name keeps the old one.

        Its table is copied again at the next start, unless every new pair is an old one: the same source column, whatever its name is now,
        with the same type, to the same target column. Saving again unchanged what the task has stopped at copies it again too."""
        with self._locks.hold(task_id):
            task = self._changeable(scope, task_id)
            others = self._store.mappings(task_id)
            old = next((m for m in others if m.id == mapping_id), None)
            if old is None:
                raise _unknown_mapping()
            task = self.joined(task, form.source_id, form.target_id)
            form = replace(form, source_table=form.source_table or old.source_table, target_table=form.target_table or old.target_table)
            new = self._filled(task, old, form, [m for m in others if m.id != mapping_id])
            new = succeeding(old, new, stopped_at=task.error_kind in STOPPED_AT and old.source_table in task.message)
            self._save(task, replace(new, status="UPDATE"), form.ext_info)
            return mapping_id

    def delete(self, scope: Scope, task_id: str, mapping_id: str) -> str:
        """Remove a mapping and return its id. Rows at the target stay."""
        with self._locks.hold(task_id):
            self._changeable(scope, task_id)
            if not self._store.delete_mapping(task_id, mapping_id):
                raise _unknown_mapping()
            return mapping_id

    def by_name(self, task: Task) -> tuple[list[Mapping], list[Unmapped]]:
        """A mapping, not yet saved, of every table that fits by name and is not mapped yet; and what is left out, with the reasons.

        A source table goes to the target table of the same `schema.table`, else to the one of its bare name in the default
        schema. The caller holds the task's lock."""
        source, target = self._ends(task)
        read, written = self._connections.source(source), self._connections.target(target)
        here, there = ask_both(read.tables, written.tables, "listing of tables")
        mapped = {m.source_table for m in self._store.mappings(task.id)}
        pairs, unmapped = match_tables([t for t in here if str(t) not in mapped], there, self._connections.schema(target))
        room = max(0, MAPPINGS_MAX - len(mapped))
        unmapped += [Unmapped(str(s), f"A task has at most {MAPPINGS_MAX} mappings.") for s, _ in pairs[room:]]
        pairs = pairs[:room]
        described = ask_both(
            lambda: read.describe([s for s, _ in pairs]), lambda: written.describe([t for _, t in pairs]), "description of tables"
        )
        made: list[Mapping] = []
        for name, other in pairs:
            try:
                _refuse_own_target(source, target, name, other)
                mapping, misfits = self._automatic(task, *_described(described, name, other))
                made.append(mapping)
                unmapped += misfits
            except ServiceError as error:
                unmapped.append(Unmapped(str(name), " ".join(error.details) or error.message))
        return made, sorted(unmapped, key=lambda one: one.source_table)

    def problems(self, task: Task) -> list[str]:
        """Everything that keeps the task's mappings from fitting the tables as they are now."""
        source, target = self._ends(task)
        found = self._store.mappings(task.id)
        names = [(_parsed(m.source_table), _parsed(m.target_table)) for m in found]
        described = self._describe(source, target, names)
        problems: list[str] = []
        for mapping, (name, other) in zip(found, names, strict=True):
            try:
                here, there = _described(described, name, other)
            except ServiceError as error:
                problems += error.details
            else:
                problems += _misfits(mapping, here, there)
        problems += sharing([m.table_mapping(task.operations) for m in found], task.operations)
        return list(dict.fromkeys(problems))

    def refit(self, task: Task) -> list[str]:
        """Take the source columns as they are now; returns the tables that are copied again because some are not what they were.

        Columns that a person has mapped by name stay mapped: one that was dropped and added again, or has another type, is copied."""
        source, _ = self._ends(task)
        found = {mapping.id: mapping for mapping in self._store.mappings(task.id)}
        try:
            now = as_now(self._connections, source, list(found.values()))
        except HeadwaterError as error:
            raise refusal("FDI.3016", f"At the source: {error}") from error
        renewed = [mapping for mapping in now if not continues(found[mapping.id], mapping)]
        self._store.save_mappings([replace(mapping, revision=mapping.revision + 1) for mapping in renewed])
        return sorted({mapping.source_table for mapping in renewed})

    def shown(self, task: Task, mappings: Page[Mapping], unmapped: Sequence[Unmapped] = ()) -> MappingSet:
        """Mappings with the data sources that they join."""
        source = self._store.data_source(task.source_id) if task.source_id else None
        target = self._store.data_source(task.target_id) if task.target_id else None
        return MappingSet(
            task_id=task.id,
            source_id=task.source_id,
            source_name=source.name if source else "",
            source_type=source.type if source else "",
            source_app_id=task.source_app_id or (source.app_id if source else ""),
            target_id=task.target_id,
            target_name=target.name if target else "",
            target_type=target.type if target else "",
            target_app_id=task.target_app_id or (target.app_id if target else ""),
            instance_id=task.scope.instance_id,
            ext_info=task.ext_info,
            mappings=mappings,
            unmapped=tuple(unmapped),
        )

    def _known(self, scope: Scope, task_id: str) -> Task:
        task = self._store.task(task_id, scope)
        if task is None:
            raise unknown_task()
        return task

    def _changeable(self, scope: Scope, task_id: str) -> Task:
        task = self._known(scope, task_id)
        if is_running(task):
            raise refusal("FDI.3023", "Stop the task before you change its mappings.")
        return task

    def joined(self, task: Task, source_id: str | None, target_id: str | None) -> Task:
        """The task, not yet saved, with the data sources named. Raises FDI.3033 for unknown ones; FDI.3037 for a task that
        has run, or has mappings, between others."""
        wanted = replace(task, source_id=source_id or task.source_id, target_id=target_id or task.target_id)
        for parameter, data_source_id in (("source_datasource_id", wanted.source_id), ("target_datasource_id", wanted.target_id)):
            if data_source_id and self._store.data_source(data_source_id, task.scope) is None:
                raise unknown_data_source(parameter, status=400)
        if (wanted.source_id, wanted.target_id) == (task.source_id, task.target_id):
            return wanted
        if task.started_once:
            raise refusal("FDI.3037", "The task has run between other data sources, where its progress is kept; make another task.")
        if self._store.mappings(task.id):
            why = "The task's mappings join other data sources, and all mappings of a task have the same two."
            raise refusal("FDI.3037", f"{why} Make another task, or delete its mappings first.")
        return wanted

    def _ends(self, task: Task) -> tuple[DataSource, DataSource]:
        source = self._store.data_source(task.source_id, task.scope) if task.source_id else None
        target = self._store.data_source(task.target_id, task.scope) if task.target_id else None
        if source is None or target is None:
            raise invalid(
                "source_datasource_id" if source is None else "target_datasource_id", "the task needs both data sources for this."
            )
        return source, target

    def _filled(self, task: Task, mapping: Mapping, form: MappingForm, others: Sequence[Mapping]) -> Mapping:
        """The mapping with what a caller sent, checked against both databases and the task's other mappings."""
        source, target = self._ends(task)
        name = table_name("source_table", form.source_table, self._connections.schema(source))
        other = table_name("target_table", form.target_table, self._connections.schema(target))
        if any((m.source_table, m.target_table) == (str(name), str(other)) for m in others):
            raise refusal("FDI.3037", f"{name} is mapped to {other} in this task already; change that mapping.")
        _refuse_own_target(source, target, name, other)
        described = self._describe(source, target, [(name, other)])
        if name not in described[0]:
            self._refuse_for_its_kind(source, name)
        here, there = _described(described, name, other)
        pairs = [(pair.source_column, pair.target_column) for pair in form.pairs] or by_name(here, there)
        made = self._made(mapping, here, there, fit(here, there, pairs, compatible))
        problems = sharing([m.table_mapping(task.operations) for m in [*others, made]], frozenset())
        if problems:
            raise refusal("FDI.3037", " ".join(problems), details=tuple(problems))
        return made

    def _automatic(self, task: Task, here: TableSchema, there: TableSchema) -> tuple[Mapping, list[Unmapped]]:
        """A mapping of the columns that fit by name, and the columns that were left out. Raises FDI.3037 where nothing fits."""
        pairs, misfits = fitting(here, there, compatible)
        blank = Mapping(uuid.uuid4().hex, task.id, "", "", (), (), (), (), "AUTO", 0, 0)
        made = self._made(blank, here, there, fit(here, there, pairs, compatible))
        return made, [Unmapped(str(here.table), f"A column was left out. {misfit}") for misfit in misfits]

    def _made(self, mapping: Mapping, here: TableSchema, there: TableSchema, fitted: Fit) -> Mapping:
        if fitted.problems:
            raise refusal("FDI.3037", " ".join(fitted.problems), details=fitted.problems)
        return replace(
            mapping,
            source_table=str(here.table),
            target_table=str(there.table),
            columns=fitted.columns,
            source_columns=tuple(_shown_column(column) for column in here.columns),
            target_columns=tuple(_shown_column(column) for column in there.columns),
            pairs=tuple(_shown_pair(here, there, pair.source, pair.target) for pair in fitted.columns),
            percent=fitted.percent,
            updated_ms=self._now_ms(),
        )

    def _save(self, task: Task, mapping: Mapping, ext_info: dict[str, Any]) -> None:
        register(self._store, task.source_id, ext_info)
        with refusing_the_gone():
            self._store.save_task(replace(task, modified_ms=self._now_ms(), ext_info=task.ext_info | ext_info))
        self._store.save_mapping(mapping)

    def _refuse_for_its_kind(self, source: DataSource, name: TableName) -> None:
        """Tell why something that is there can't be mapped: a view, a sequence. What is not there is told by whoever asks."""
        check = self._connections.source(source).check
        found = [one for one in ask(lambda: check([name]), "check of a table") if one.table == name]
        if found:
            raise refusal("FDI.3037", " ".join(map(str, found)), details=tuple(map(str, found)))

    def _describe(self, source: DataSource, target: DataSource, names: Sequence[tuple[TableName, TableName]]) -> Described:
        read, written = self._connections.source(source), self._connections.target(target)
        here, there = sorted({s for s, _ in names}), sorted({t for _, t in names})
        return ask_both(lambda: read.describe(here), lambda: written.describe(there), "description of tables")


def _misfits(mapping: Mapping, here: TableSchema, there: TableSchema) -> Sequence[str]:
    """What keeps a saved mapping from fitting the tables as they are now."""
    fitted = fit(here, there, [(pair.source, pair.target) for pair in mapping.columns], compatible)
    if not fitted.problems and [pair.key for pair in fitted.columns] != [pair.key for pair in mapping.columns]:
        return [f"The key of {here.table} is another one than its mapping was made for. Save the mapping again: the table is copied anew."]
    return fitted.problems


Described = tuple[dict[TableName, TableSchema], dict[TableName, TableSchema]]


def match_tables(
    here: Sequence[TableName], there: Sequence[TableName], schema: str
) -> tuple[list[tuple[TableName, TableName]], list[Unmapped]]:
    """Tables of two databases paired by name, and those that have no counterpart. `schema` is the target's default. Pure; see `by_name`."""
    known = set(there)
    taken = {name for name in here if name in known}
    pairs: list[tuple[TableName, TableName]] = []
    unmapped: list[Unmapped] = []
    for name in here:
        bare = TableName(schema, name.name)
        rivals = [other for other in here if other.name == name.name and other not in taken]
        if name in taken:
            pairs.append((name, name))
        elif bare not in known or bare in taken:
            unmapped.append(Unmapped(str(name), f"The target has no table {name}, nor a free one {bare}."))
        elif len(rivals) > 1:
            unmapped.append(Unmapped(str(name), f"{' and '.join(map(str, rivals))} would both go to {bare}; map them by hand."))
        else:
            pairs.append((name, bare))
    return pairs, unmapped


def _parsed(written: str) -> TableName:
    return table_name("table", written)


def _refuse_own_target(source: DataSource, target: DataSource, name: TableName, other: TableName) -> None:
    """A table that is its own target would feed itself with its own changes for ever."""
    if name == other and server(source) == server(target):
        raise refusal("FDI.3037", f"{name} can't be its own target: both data sources lead to the same database.")


def _described(described: Described, name: TableName, other: TableName) -> tuple[TableSchema, TableSchema]:
    here, there = described[0].get(name), described[1].get(other)
    missing = [f"The source has no table {name} that its user can see." for _ in [0] if here is None]
    missing += [f"The target has no table {other} that its user can see." for _ in [0] if there is None]
    if here is None or there is None:
        raise refusal("FDI.3037", " ".join([*missing, "Create it, or correct the name (schema.table)."]), details=tuple(missing))
    return here, there


def _unknown_mapping() -> ServiceError:
    return invalid("mapping_id", "there is no such mapping in this task.", status=404)


def _lets(wanted: str | None, found: str | None) -> bool:
    return not wanted or wanted == found


def _matches(mapping: Mapping, wanted: MappingFilter) -> bool:
    either = checks.contains(wanted.table_name, mapping.source_table) or checks.contains(wanted.table_name, mapping.target_table)
    return (
        either and checks.contains(wanted.source_table, mapping.source_table) and checks.contains(wanted.target_table, mapping.target_table)
    )


def _shown_column(column: Column) -> dict[str, str]:
    view = column_view(column)
    return {"field_name": view.name, "field_type": view.type} | ({"field_length": view.length} if view.length else {})


def _shown_pair(here: TableSchema, there: TableSchema, source: str, target: str) -> dict[str, str]:
    shown: dict[str, str] = {}
    for side, table, name in (("source", here, source), ("target", there, target)):
        view = column_view(next(column for column in table.columns if column.name == name))
        shown |= {f"{side}_column": view.name, f"{side}_column_type": view.type}
        if view.length:
            shown[f"{side}_column_length"] = view.length
    return shown
