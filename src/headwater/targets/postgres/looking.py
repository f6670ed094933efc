"""What the server is seen doing for sessions of ours whose calls have not returned."""

from __future__ import annotations

from collections.abc import Collection

from headwater.ports.target import Look
from headwater.targets.postgres.session import Connection

_SESSIONS = """
    SELECT state, wait_event_type, wait_event, pg_blocking_pids(pid)
    FROM pg_stat_activity WHERE pid = ANY (%s::int[])
"""

_BLOCKERS = """
    SELECT pid, coalesce(usename, '?'), coalesce(nullif(application_name, ''), 'no name'), coalesce(state, ''),
        coalesce(extract(epoch FROM now() - xact_start)::bigint, 0)
    FROM pg_stat_activity WHERE pid = ANY (%s::int[]) ORDER BY pid
"""
_END = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = ANY (%s::int[]) AND usename = current_user AND application_name = 'headwater'
"""
"""A number may have passed to a stranger since."""

BLOCKERS_TOLD = 3
"""So many of the sessions in the way are named."""


def look(connection: Connection, pids: Collection[int], asked: int | None) -> Look:
    """Look at the sessions `pids`; the one that is `asked` (None: no one) owes us an answer. Errors of the driver pass through."""
    found = connection.execute(_SESSIONS.encode(), [list(pids)]).fetchall()
    blockers = sorted({pid for *_, blocking in found for pid in blocking})
    if any(state == "active" and kind not in ("Lock", "Client") for state, kind, *_ in found):
        return Look("working")
    if blockers:
        return Look("blocked", _told(connection, blockers))
    if any(kind == "Client" for state, kind, *_ in found if state == "active"):
        return Look("blocked", "The target waits for rows that have not come: look at the source and at the network.")
    if asked is not None:
        return Look("idle", "The target's session is idle while its answer is waited for: the question or the answer was lost.")
    return Look("blocked", "No session of the copy is at work at the target: look at the source and at the network.")


def end(connection: Connection, pids: Collection[int]) -> None:
    """End these sessions of ours at the server, with what they hold. Errors of the driver pass through."""
    connection.execute(_END.encode(), [list(pids)])


def _told(connection: Connection, blockers: list[int]) -> str:
    rows = connection.execute(_BLOCKERS.encode(), [blockers[:BLOCKERS_TOLD]]).fetchall()
    named = [
        f"{pid} ({user}, {name}{', ' + state if state else ''}{f', in a transaction for {age} s' if age else ''})"
        for pid, user, name, state, age in rows
    ]
    more = f" and {len(blockers) - BLOCKERS_TOLD} more" if len(blockers) > BLOCKERS_TOLD else ""
    return f"It waits for a lock that is held by session {', '.join(named) or blockers[0]}{more}."
