"""Creating the target tables that a task lacks, after those of its source. Mapping them comes afterwards: what is created is found by name.

A table goes where automatic mapping looks for it: to the schema of its name where the target has one, else to the target's default schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater.domain.outline import Made
from headwater.domain.tables import TableName
from headwater.ports.store import DataSource, Scope, Store, Task
from headwater.services.data_sources import Connections, ask, ask_both, table_name
from headwater.services.errors import invalid, unknown_task

TABLES_MAX = 2000
"""Tables that one request may create; the contract's limit of tables in one automatic mapping."""


@dataclass(frozen=True)
class Creation:
    """One table: how it is made, what is left behind (`notes`), and why it can't be (`problem`, empty otherwise)."""

    source_table: str
    target_table: str
    statements: tuple[str, ...]
    notes: tuple[str, ...]
    problem: str
    created: bool


class TableCreation:
    """The use case. Raises ServiceError: FDI.3180 (404) for a task that the caller can't see, FDI.3033 for an unknown table or a task
    without data sources, FDI.3016 where a database can't be asked."""

    def __init__(self, store: Store, connections: Connections) -> None:
        self._store, self._connections = store, connections

    def create(self, scope: Scope, task_id: str, tables: Sequence[str], dry_run: bool) -> list[Creation]:
        """Create the target tables that are missing for these source tables; for none named, for all that the task could map.

        What is there already is left out, whatever it looks like. Each table is made whole or not at all; one that fails is told with its
        reason, and the others are made nevertheless. With `dry_run` nothing is made."""
        task = self._known(scope, task_id)
        source, target = self._ends(task)
        read, written = self._connections.source(source), self._connections.target(target)
        here, there = ask_both(read.tables, written.tables, "listing of tables")
        wanted = self._wanted(task, source, here, tables)
        goals = self._goals(task, target, wanted, there)
        present = ask(lambda: written.describe(sorted(set(goals.values()))), "description of tables")
        missing = {name: goal for name, goal in goals.items() if goal not in present}
        if len(missing) > TABLES_MAX:
            raise invalid("tables", f"{len(missing)} tables are missing, and at most {TABLES_MAX} are created at once; name some.")
        rivals = {goal for goal in missing.values() if sum(other == goal for other in missing.values()) > 1}
        refused = [_rival(name, goal, missing) for name, goal in missing.items() if goal in rivals]
        outlines = ask(lambda: read.outlines([name for name, goal in missing.items() if goal not in rivals]), "description of tables")
        pairs = [(outlines[name], goal) for name, goal in missing.items() if name in outlines]
        made = ask(lambda: written.create(pairs, dry_run), "creation of tables") if pairs else []
        done = [_told(str(outline.table), str(goal), one, dry_run) for (outline, goal), one in zip(pairs, made, strict=True)]
        return sorted([*done, *refused], key=lambda one: one.source_table)

    def _wanted(self, task: Task, source: DataSource, here: Sequence[TableName], tables: Sequence[str]) -> list[TableName]:
        """The source tables: those named, else all that are listed or mapped."""
        if not tables:
            mapped = [TableName.parse(m.source_table, "") for m in self._store.mappings(task.id)]
            return list(dict.fromkeys([*here, *mapped]))
        named = [table_name("tables", written, self._connections.schema(source)) for written in tables]
        found = ask(lambda: self._connections.source(source).describe(named), "description of tables")
        if unknown := [str(name) for name in named if name not in found]:
            raise invalid("tables", f"there is no table {', '.join(unknown)} at the source that its user can see; write schema.table.")
        return list(dict.fromkeys(named))

    def _goals(self, task: Task, target: DataSource, wanted: Sequence[TableName], there: Sequence[TableName]) -> dict[TableName, TableName]:
        """Where each source table goes: where it is mapped to, else by its name."""
        mapped = {TableName.parse(m.source_table, ""): TableName.parse(m.target_table, "") for m in self._store.mappings(task.id)}
        default, schemas = self._connections.schema(target), {table.schema for table in there}
        return {name: mapped.get(name) or (name if name.schema in schemas else TableName(default, name.name)) for name in wanted}

    def _known(self, scope: Scope, task_id: str) -> Task:
        task = self._store.task(task_id, scope)
        if task is None:
            raise unknown_task()
        return task

    def _ends(self, task: Task) -> tuple[DataSource, DataSource]:
        found = [self._store.data_source(one, task.scope) if one else None for one in (task.source_id, task.target_id)]
        source, target = found
        if source is None or target is None:
            raise invalid("task_id", "the task needs both data sources for this; give it a source and a target first.")
        return source, target


def _told(name: str, goal: str, made: Made, dry_run: bool) -> Creation:
    return Creation(name, goal, made.statements, made.notes, made.problem, created=not (dry_run or made.problem))


def _rival(name: TableName, goal: TableName, missing: dict[TableName, TableName]) -> Creation:
    others = " and ".join(str(other) for other, where in missing.items() if where == goal and other != name)
    made = Made(problem=f"{others} would go to {goal} as well. Make a schema of its name at the target, or make the tables by hand.")
    return _told(str(name), str(goal), made, dry_run=True)
