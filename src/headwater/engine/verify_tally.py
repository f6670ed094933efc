"""What a verification has found and how far it is, as its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from headwater.domain.mapping import TableMapping
from headwater.engine.control import Control
from headwater.ports.compare import Key
from headwater.ports.runtime import KeyDifference, RepairAsk, VerifiedTable, VerifyReport

KEY_CHARS_MAX = 100
"""A key's value is shown up to this length (P9)."""

KEYS_CHARS_MAX = 300_000
"""All keys of a report together are no longer than this (P9)."""

RATE_S = 0.5
"""Rates are means over the whole comparison, first said after this long."""

Kind = Literal["missing", "extra", "differing"]
Outcome = Literal["equal", "repaired", "different", "unsettled"]


class VerifyTally:
    """The report in the making; one thread writes it."""

    def __init__(self, mappings: Sequence[TableMapping], keys_max: int, control: Control) -> None:
        self._control, self._keys_max = control, keys_max
        self._tables = {m.mapping_id: VerifiedTable(m.mapping_id, str(m.source), str(m.target)) for m in mappings}
        self._report = VerifyReport("starting", tables=tuple(self._tables.values()))
        self._spent_s, self._chars = 0.0, 0
        control.post(self._report)

    def table(self, mapping_id: str) -> VerifiedTable:
        """How far a mapping is."""
        return self._tables[mapping_id]

    def say(self, state: Literal["waiting", "comparing"], message: str = "") -> None:
        """Enter a state."""
        if (state, message) != (self._report.state, self._report.message):
            self._post(state=state, message=message)

    def placed(self, offset: int) -> None:
        """A comparison was begun while the task stood at this offset."""
        before = self._report.offset
        self._post(offset=offset if before is None else min(before, offset))

    def change(self, mapping_id: str, **changes: Any) -> None:
        """Change what is said of a mapping."""
        self._tables[mapping_id] = replace(self._tables[mapping_id], **changes)
        self._post(tables=tuple(self._tables.values()))

    def anew(self, mapping_id: str) -> None:
        """Forget what was found in a mapping: it is compared again."""
        old = self._tables[mapping_id]
        self._tables[mapping_id] = VerifiedTable(mapping_id, old.source_table, old.target_table)

    def compared(self, mapping_id: str, rows: int, spent_s: float) -> None:
        """So many rows of the source were compared."""
        self._spent_s += spent_s
        done = self._report.rows + rows
        rate = round(done / self._spent_s, 1) if self._spent_s >= RATE_S else self._report.rows_per_s
        self._report = replace(self._report, rows=done, rows_per_s=rate)
        self.change(mapping_id, rows=self._tables[mapping_id].rows + rows)

    def found(self, mapping_id: str, differences: dict[Key, Kind], repaired: set[Key]) -> None:
        """Rows that differ, for certain; those in `repaired` do no more."""
        table = self._tables[mapping_id]
        room = max(0, self._keys_max - len(table.keys)) if self._chars < KEYS_CHARS_MAX else 0
        shown = tuple(KeyDifference(_short(key), kind, key in repaired) for key, kind in list(differences.items())[:room])
        self._chars += sum(len(value) for one in shown for value in one.key)
        kinds = list(differences.values())
        self.change(
            mapping_id,
            missing=table.missing + kinds.count("missing"),
            extra=table.extra + kinds.count("extra"),
            differing=table.differing + kinds.count("differing"),
            repaired=table.repaired + len(repaired),
            keys=table.keys + shown,
        )

    def ask(self, mapping_id: str, keys: Sequence[Key]) -> None:
        """Ask the task's apply to repair these rows."""
        number = self._report.ask.number + 1 if self._report.ask else 1
        self._post(ask=RepairAsk(number, mapping_id, tuple(keys)))

    def done(self) -> None:
        """The last report, with its outcome."""
        self._post(state="done", message="", ask=None, outcome=outcome(self._report.tables))

    def _post(self, **changes: Any) -> None:
        self._report = replace(self._report, **changes)
        self._control.post(self._report)


def outcome(tables: Sequence[VerifiedTable]) -> Outcome:
    """What the tables together prove; the worst of them decides."""
    if any(t.different > t.repaired for t in tables):
        return "different"
    if any(t.state in ("unsettled", "not_compared", "pending", "comparing") for t in tables):
        return "unsettled"
    return "repaired" if any(t.different for t in tables) else "equal"


def _short(key: Key) -> Key:
    return tuple(value if len(value) <= KEY_CHARS_MAX else f"{value[:KEY_CHARS_MAX]}..." for value in key)
