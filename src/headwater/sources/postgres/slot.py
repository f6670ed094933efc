"""Whether the slot can serve a place in the log, decided without I/O; and the look at the slot that the decision needs.

PostgreSQL silently moves a reader that asks for an older place forward to where the slot stands. That would skip changes, so
the places are compared first and a slot beyond the wanted place is refused aloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from headwater.sources.postgres import positions

Connection = psycopg.Connection[tuple[Any, ...]]

FAILOVER_SINCE = 170000
"""From this version on standbys can keep slots of their primary."""


@dataclass(frozen=True)
class SlotState:
    """The slot as `pg_replication_slots` tells it. `ruined` says in words why it can't be read any more; empty where it can.

    `failover`: standbys of the server keep it as well, ready for their promotion; None where the server is too old for that."""

    plugin: str
    database: str | None
    active_pid: int | None
    confirmed: int | None
    ruined: str = ""
    failover: bool | None = None


@dataclass(frozen=True)
class Decision:
    """What to do about the slot: use it, make it, or declare the history lost, for the `reason`."""

    what: Literal["use", "create", "lost"]
    reason: str = ""


def look(connection: Connection, name: str) -> tuple[SlotState | None, int]:
    """The slot, None where there is none; and how far the server's own log is on disk."""
    flushed = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert flushed is not None
    version = connection.info.server_version
    ruined = "''"
    if version >= 130000:
        ruined = "CASE wal_status WHEN 'lost' THEN 'the server has removed log that it still needed (max_slot_wal_keep_size)' ELSE '' END"
    if version >= 160000:
        ruined = f"CASE WHEN conflicting THEN 'it was invalidated by a conflict with recovery' ELSE {ruined} END"
    if version >= 170000:
        ruined = f"CASE WHEN invalidation_reason IS NOT NULL THEN 'it was invalidated: ' || invalidation_reason ELSE {ruined} END"
    failover = "failover" if version >= FAILOVER_SINCE else "NULL::bool"
    row = connection.execute(
        f"SELECT coalesce(plugin, ''), database, active_pid, confirmed_flush_lsn::text, {ruined}, {failover}"  # noqa: S608  glued from constants
        " FROM pg_replication_slots WHERE slot_name = %s",
        (name,),
    ).fetchone()
    if row is None:
        return None, positions.parse(flushed[0])
    confirmed = None if row[3] is None else positions.parse(row[3])
    return SlotState(row[0], row[1], row[2], confirmed, row[4], row[5]), positions.parse(flushed[0])


def decide(slot: SlotState | None, flushed: int, after: int | None, database: str) -> Decision:
    """Whether the log after `after` can be had from this slot. Pure."""
    if slot is None:
        return Decision("create") if after is None else Decision("lost", "it is gone: somebody dropped it, or the server was replaced")
    if slot.plugin != "pgoutput" or slot.database != database:
        return Decision("lost", f"a slot of that name serves plugin '{slot.plugin}' in database '{slot.database}'")
    if slot.ruined:
        return Decision("lost", slot.ruined)
    if slot.confirmed is None:
        return Decision("lost", "it never became ready")
    if after is not None and slot.confirmed > after:
        stands = positions.text(slot.confirmed)
        return Decision("lost", f"it stands at {stands}, beyond {positions.text(after)}, up to where changes were captured")
    if after is not None and flushed < after:
        ends = f"the server's log ends at {positions.text(flushed)}, before {positions.text(after)}"
        return Decision("lost", f"{ends}: it was restored from a backup, or is another server")
    return Decision("use")
