"""Whose log a place is in, and where to go on in it: on the server that it comes from, or on another one that has the same transactions.

A place is a file and an offset, which mean something on one server only. Another server that is to be the source now has everything
that was captured where it has the GTIDs of the last captured transaction; then following goes on behind these. Where it lacks them,
going on would be silent corruption. On the same server the log may have been reset, or its oldest files removed, since we read it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from headwater.dialects.mysql_session import Session
from headwater.ports.source import Trail
from headwater.sources.mysql import positions
from headwater.sources.mysql.connect import row, rows
from headwater.sources.mysql.positions import Position

MYSQL_IDENTITY = "SELECT @@server_uuid AS uuid"
MARIADB_IDENTITY = "SELECT @@gtid_domain_id AS domain, @@server_id AS number"
MARIADB_UID = "SELECT @@server_uid AS uid"
STATUS_SINCE = (8, 2, 0)
"""MySQL's version from which on SHOW BINARY LOG STATUS is there; later SHOW MASTER STATUS is not."""

BEGINNING = 4
"""The offset of a file's first event."""

ENCRYPTED_HEAD_BYTES = 512


@dataclass(frozen=True)
class Identity:
    """A server: `server` is its short name in positions, `history` what is noted beside the journal."""

    server: str
    history: str


@dataclass(frozen=True)
class Joined:
    """Where to go on. `by_gtids`: it is another server's log, so `after` has the GTIDs to go on behind, and no file or offset of this
    server. Or the `reason` why that is not possible."""

    after: Position | None
    by_gtids: bool = False
    reason: str = ""


def identify(connection: Session) -> Identity:
    """Ask the server who it is. MariaDB has no identifier that nobody else can have before 10.10; ids differ among those that replicate."""
    if not connection.mariadb:
        uuid = str(row(connection, MYSQL_IDENTITY)["uuid"])
        return Identity(uuid.replace("-", "")[:12], f"mysql/{uuid}")
    found = row(connection, MARIADB_IDENTITY)
    uid = str(row(connection, MARIADB_UID)["uid"]) if connection.since((10, 10), None) else ""
    return Identity(f"m{found['number']}", f"mariadb/{found['domain']}-{found['number']}/{uid}")


def end_of_log(connection: Session) -> Position:
    """Where the server's log ends now. It must have one (`readiness`)."""
    found = status(connection)
    end = _end(found)
    if connection.mariadb:
        return with_gtids(connection, end.file, end.offset)
    gtids = str(found.get("executed_gtid_set") or "") if gives_gtids(connection) else ""
    return replace(end, gtids=_bare(gtids), server=identify(connection).server)


def status(connection: Session) -> dict[str, Any]:
    """What the server says of its log: `file`, `position`, and which databases it leaves out."""
    return row(connection, "SHOW BINARY LOG STATUS" if connection.since(None, STATUS_SINCE) else "SHOW MASTER STATUS")


def _end(found: dict[str, Any]) -> Position:
    """The file and offset of a `status`."""
    return Position(str(found["file"]), int(found["position"]))


def end_place(connection: Session) -> tuple[int, int]:
    """The same as what orders places of one server, which costs the server nothing."""
    return _end(status(connection)).place


def somewhere_at_end(connection: Session) -> Position:
    """The same for who only waits until that place is reached: it costs a MariaDB nothing, but the GTIDs may be somewhat younger."""
    if not connection.mariadb:
        return end_of_log(connection)
    return replace(_end(status(connection)), gtids=logged(connection), server=identify(connection).server)


def logged(connection: Session) -> str:
    """The GTIDs of everything that the server has logged, and at MySQL of what it took over."""
    state = "gtid_binlog_pos" if connection.mariadb else "gtid_executed"
    return _bare(str(row(connection, f"SELECT @@GLOBAL.{state} AS gtids")["gtids"]))


def with_gtids(connection: Session, file: str, offset: int) -> Position:
    """A place in a MariaDB's log with the GTIDs of all before it, or without any where the server can't tell them (`gtids_at`)."""
    return Position(file, offset, gtids_at(connection, file, offset) or "", identify(connection).server)


def gtids_at(connection: Session, file: str, offset: int) -> str | None:
    """The GTIDs of all before a place in a MariaDB's log; the server reads the file up to there for that. None where it can't tell: for
    offsets beyond 32 bits, and behind an event that is larger than its `max_allowed_packet`, as rows may be (seen on 10.11)."""
    found = row(connection, "SELECT BINLOG_GTID_POS(%s, %s) AS gtids", (file, offset))["gtids"]
    return None if found is None else _bare(str(found))


def join(connection: Session, after: Position | None, trail: Trail) -> Joined:
    """Where the server's log goes on after what was captured."""
    if after is None:
        return Joined(None)
    identity = identify(connection)
    if after.server == identity.server and trail.history in ("", identity.history):
        return Joined(after, reason=_lost(connection, after))
    return _elsewhere(connection, after, trail)


def earliest(connection: Session) -> str:
    """The earliest place that the server's log still has, as half a sentence."""
    files = log_files(connection)
    return f"the log of this server begins with {next(iter(files))}" if files else "this server has no log"


def log_files(connection: Session) -> dict[str, int]:
    """The files of the server's log in order, with their sizes in bytes, as places count them: without what MySQL puts in front of
    those that it encrypts."""
    return {
        str(found["log_name"]): int(found["file_size"]) - (ENCRYPTED_HEAD_BYTES if found.get("encrypted") == "Yes" else 0)
        for found in rows(connection, "SHOW BINARY LOGS")
    }


def _lost(connection: Session, after: Position) -> str:
    """Why the place is not in its own server's log any more; empty where it is."""
    files = log_files(connection)
    if after.file not in files:
        return f"{after.file} is not there any more; {earliest(connection)}"
    reset = f"the log was reset (RESET MASTER) since; {earliest(connection)}"
    if after.offset > files[after.file]:
        return reset
    if not after.gtids:
        return ""
    here = gtids_at(connection, after.file, after.offset) if connection.mariadb else None
    if here is not None:  # a place that was taken where the server could not tell may lack domains
        return "" if set(after.gtids.split(",")).issubset(here.split(",")) else reset
    return "" if positions.holds(logged(connection), after.gtids) else reset


def _elsewhere(connection: Session, after: Position, trail: Trail) -> Joined:
    """Going on at another server. The last captured transaction counts, not the last word: one that never had rows for us is no loss."""
    captured = positions.parse(trail.upto) if trail.upto else after
    who = "this is another server than the one whose log was captured"
    if not captured.gtids:
        return Joined(after, reason=f"{who}, and without GTIDs its log can't be joined to it")
    have = logged(connection)
    if not positions.holds(have, captured.gtids) or _diverged(connection, captured.gtids):
        return Joined(after, reason=f"{who}, and it lacks what was captured from that one, up to {captured.gtids}; it has {have or 'none'}")
    behind = after if positions.holds(have, after.gtids) else captured
    if missing := _purged(connection, behind.gtids):
        return Joined(after, reason=f"{who}, and it has removed {missing} from its log, which were not captured")
    return Joined(replace(behind, file="", offset=0), by_gtids=True)


def _diverged(connection: Session, gtids: str) -> bool:
    """True where the domain's last number is high enough only because this server, which lacks some of the other's, wrote its own."""
    if not connection.mariadb:
        return False
    return positions.behind(str(row(connection, "SELECT @@GLOBAL.gtid_binlog_state AS gtids")["gtids"]), gtids)


def _purged(connection: Session, gtids: str) -> str:
    """The GTIDs that the server has removed from its log, where we lack some of them."""
    if connection.mariadb:
        first = next(iter(log_files(connection)))
        gone = with_gtids(connection, first, BEGINNING).gtids
    else:
        gone = _bare(str(row(connection, "SELECT @@GLOBAL.gtid_purged AS gtids")["gtids"]))
    return "" if positions.holds(gtids, gone) else gone


def gives_gtids(connection: Session) -> bool:
    """Whether a MySQL gives each of its transactions a GTID."""
    return str(row(connection, "SELECT @@GLOBAL.gtid_mode AS mode")["mode"]) == "ON"


def _bare(gtids: str) -> str:
    return gtids.replace("\n", "").replace(" ", "")
