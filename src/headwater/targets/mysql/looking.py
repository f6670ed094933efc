"""What the server is seen doing for sessions of ours whose calls have not returned.

Everybody may see their own sessions. Who stands in the way is told to those with the PROCESS privilege only, and not by every version.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from pymysql.err import Error

from headwater.ports.target import Look
from headwater.targets.mysql.session import Connection

_SESSIONS = "SELECT ID, COMMAND, COALESCE(STATE, '') FROM information_schema.PROCESSLIST WHERE ID IN ({ids})"
_BLOCKERS_MARIADB = """
SELECT b.trx_mysql_thread_id FROM information_schema.INNODB_LOCK_WAITS w
JOIN information_schema.INNODB_TRX r ON r.trx_id = w.requesting_trx_id
JOIN information_schema.INNODB_TRX b ON b.trx_id = w.blocking_trx_id WHERE r.trx_mysql_thread_id IN ({ids})
"""
_BLOCKERS_MYSQL = """
SELECT b.PROCESSLIST_ID FROM performance_schema.data_lock_waits w
JOIN performance_schema.threads r ON r.THREAD_ID = w.REQUESTING_THREAD_ID
JOIN performance_schema.threads b ON b.THREAD_ID = w.BLOCKING_THREAD_ID WHERE r.PROCESSLIST_ID IN ({ids})
"""
_WAITING = "SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id IN ({ids})"
_OPEN = """
SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id NOT IN ({ids}) ORDER BY trx_started LIMIT 4
"""
_TOLD = """
SELECT p.ID, p.USER, p.COMMAND, COALESCE(TIMESTAMPDIFF(SECOND, t.trx_started, NOW()), p.TIME)
FROM information_schema.PROCESSLIST p LEFT JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id = p.ID
WHERE p.ID IN ({ids}) ORDER BY p.ID
"""
BLOCKERS_TOLD = 3
"""So many of the sessions in the way are named."""

_TABLE_LOCKS = ("Waiting for table", "Waiting for backup lock", "Waiting for global read lock")


def look(connection: Connection, ids: Collection[int], asked: int | None) -> Look:
    """Look at the sessions `ids`; the one that is `asked` (None: no one) owes us an answer. Errors of the driver pass through."""
    found = connection.ask(_in(_SESSIONS, ids))
    waiting = _perhaps(connection, _in(_WAITING, ids))
    by_table = [id for id, _, state in found if state.startswith(_TABLE_LOCKS)]
    at_work = [(id, state) for id, command, state in found if command != "Sleep" and id not in waiting and id not in by_table]
    if any(not _reads_us(state) for _, state in at_work):
        return Look("working")
    if waiting:
        blockers = _perhaps(connection, _in(_BLOCKERS_MARIADB if connection.mariadb else _BLOCKERS_MYSQL, ids)) - set(ids)
        return Look("blocked", _told(connection, "for a row's lock", sorted(blockers)))
    if by_table:
        return Look("blocked", _told(connection, "for the lock of a table's definition", sorted(_perhaps(connection, _in(_OPEN, ids)))))
    if at_work:
        return Look("blocked", "The target waits for rows that have not come: look at the source and at the network.")
    if asked is not None:
        return Look("idle", "The target's session is idle while its answer is waited for: the question or the answer was lost.")
    return Look("blocked", "No session of the copy is at work at the target: look at the source and at the network.")


def end(connection: Connection, ids: Collection[int]) -> None:
    """End these sessions of ours at the server, with what they hold. Errors of the driver pass through."""
    asked = "SELECT ID FROM information_schema.PROCESSLIST WHERE ID IN ({ids}) AND USER = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"
    for (id,) in connection.ask(_in(asked, ids)):
        with suppress(Error):
            connection.run(f"KILL {int(id)}")


def _reads_us(state: str) -> bool:
    """Whether the server waits for the rows of a load."""
    return state.lower() in ("reading from net", "receiving from client")


def _told(connection: Connection, what: str, blockers: list[int]) -> str:
    named = []
    if blockers:
        with suppress(Error):
            rows = connection.ask(_in(_TOLD, blockers[:BLOCKERS_TOLD]))
            named = [f"{id} ({user}, {command.lower()}, in a transaction for {age} s)" for id, user, command, age in rows]
    if not named:
        return f"It waits {what}; who holds it is told to users with the PROCESS privilege."
    more = f" and {len(blockers) - BLOCKERS_TOLD} more" if len(blockers) > BLOCKERS_TOLD else ""
    return f"It waits {what}, which is held by session {', '.join(named)}{more}."


def _perhaps(connection: Connection, question: str) -> set[int]:
    """Numbers that the server may not want to tell."""
    try:
        return {int(id) for (id,) in connection.ask(question) if id is not None}
    except Error:
        return set()


def _in(statement: str, ids: Collection[int]) -> str:
    return statement.replace("{ids}", ", ".join(str(int(id)) for id in ids) or "0")
