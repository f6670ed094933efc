"""What a shared target table has to hold, as plain dictionaries: the mappings' source rows joined by key, last writer first."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from headwater.domain.mapping import ColumnPair, TableMapping, side_by_side
from headwater.domain.merge import MergedTable, MergeStep, Move
from headwater.domain.tables import TableName
from tests.contract.test_target_contract import T, batch

EVERYTHING = frozenset({"INSERT", "UPDATE", "DELETE"})
Values = dict[str, str | None]


def sharing(**columns: Sequence[str]) -> dict[str, TableMapping]:
    """Mappings into T by their ids, each with the columns besides `id` that it fills."""
    made = [
        TableMapping(name, TableName("s", name), T, tuple(ColumnPair(c, c, c == "id") for c in ("id", *filled)), EVERYTHING)
        for name, filled in columns.items()
    ]
    return {mapping.mapping_id: mapping for mapping in side_by_side(made)}


@dataclass
class Model:
    """The sources' rows by mapping and key."""

    mappings: dict[str, TableMapping]
    rows: dict[str, dict[int, Values]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = {name: {} for name in self.mappings}

    def expected(self) -> list[tuple[int, str | None, str | None]]:
        """T's rows by id. No two mappings that fill one column may have rows of one key."""
        joined: dict[int, Values] = {}
        for name in self.mappings:
            for key, values in self.rows[name].items():
                joined.setdefault(key, {"v": None, "doc": None}).update(values)
        return [(key, joined[key]["v"], joined[key]["doc"]) for key in sorted(joined)]

    def free(self, name: str, key: int) -> bool:
        """Whether a row of the mapping may have this key."""
        mapping = self.mappings[name]
        taken = {owner for column in mapping.values for owner in mapping.owners(column)}
        return not any(key in self.rows[owner] for owner in taken)

    def step(self, name: str, rng: random.Random) -> MergeStep:
        """Random changes of one mapping's rows, made here and told as a step."""
        rows, mapping = self.rows[name], self.mappings[name]
        kind = rng.choice(("rows", "rows", "rows", "deletes", "deletes", "partial", "move", "truncate"))
        if kind == "deletes":
            gone = rng.sample(range(8), 3)
            for key in gone:
                rows.pop(key, None)
            return MergeStep(deletes=batch(("id",), *((key,) for key in gone)))
        if kind == "truncate":
            rows.clear()
            return MergeStep(truncate=True)
        if kind == "move" and rows:
            return self._move(name, rng)
        if kind == "partial" and rows:
            key = rng.choice(sorted(rows))
            column = rng.choice(mapping.values)
            rows[key][column] = f"{name}{rng.randrange(1000)}"
            return MergeStep(partials=(batch(("id", column), (key, rows[key][column])),))
        new = [key for key in rng.sample(range(8), 4) if self.free(name, key)]
        for key in new:
            rows[key] = {column: rng.choice((None, f"{name}{rng.randrange(1000)}")) for column in mapping.values}
        return MergeStep(upserts=batch(("id", *mapping.values), *((key, *rows[key].values()) for key in new))) if new else MergeStep()

    def _move(self, name: str, rng: random.Random) -> MergeStep:
        rows = self.rows[name]
        old = rng.choice(sorted(rows))
        new = next((key for key in rng.sample(range(8), 8) if key not in rows and self.free(name, key)), None)
        if new is None:
            return MergeStep()
        rows[new] = rows.pop(old)
        return MergeStep(moves=(Move((str(old).encode(),), {"id": str(new).encode()}),))

    def merged(self, names: Sequence[str], rng: random.Random) -> list[MergedTable]:
        """Random changes of some mappings."""
        return [MergedTable(self.mappings[name], (self.step(name, rng),), exact=True) for name in names]
