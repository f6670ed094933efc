"""Positions: places in a binlog, as text outside and taken apart inside.

`binlog.000003:4711;0-1-17;m1` is the file, the offset in it, the GTIDs of everything up to there (MariaDB's list or MySQL's set; empty
where the server gives none), and the server whose file that is. Within one server's log the file and the offset tell which of two places
is the later one. Between servers only the GTIDs do: that place is later which has everything of the other.

Where XA transactions are prepared and not yet committed, `;2:1234` is added: the number of the file and the offset in it where the first of
them begins. Whoever goes on from the place has to read from there to know what will be committed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_POSITION = re.compile(
    r"(?P<file>.+\.(?P<number>\d+)):(?P<offset>\d+);(?P<gtids>[^;]*);(?P<server>[^;]*)(?:;(?P<since>\d+:\d+))?", re.DOTALL
)
_MARIADB = re.compile(r"(\d+)-(\d+)-(\d+)")


@dataclass(frozen=True)
class Position:
    """A place: the next byte is that at `offset` of `file`. `gtids` without blanks. `server` is a short name, see `lineage.py`. `since` is
    where the first prepared transaction begins (number of the file, offset)."""

    file: str
    offset: int
    gtids: str = ""
    server: str = ""
    since: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.offset};{self.gtids};{self.server}{spelled(self.since)}"

    @property
    def number(self) -> int:
        """The file's number: files follow one another by it, also where their name was changed."""
        return int(self.file.rpartition(".")[2])

    @property
    def place(self) -> tuple[int, int]:
        """What orders places of one server."""
        return self.number, self.offset


def spelled(since: tuple[int, int] | None) -> str:
    """The end of a position's text that tells where the first prepared transaction begins."""
    return "" if since is None else f";{since[0]}:{since[1]}"


@lru_cache(maxsize=64)
def parse(text: str) -> Position:
    """A position from its text.

    Raises:
        ValueError: it is not one.
    """
    found = _POSITION.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is not a position of a MySQL or MariaDB log")
    number, _, offset = (found["since"] or "").partition(":")
    since = (int(number), int(offset)) if number else None
    return Position(found["file"], int(found["offset"]), found["gtids"], found["server"], since)


def reached(place: Position, wanted: Position) -> bool:
    """True where `place` is at or after `wanted`."""
    if place.server == wanted.server or not (place.gtids and wanted.gtids):
        return place.place >= wanted.place
    return holds(place.gtids, wanted.gtids)


def holds(gtids: str, others: str) -> bool:
    """True where the first GTIDs have all of the second."""
    if ":" not in others + gtids:  # MariaDB's; a MySQL server's UUID may look like one of these
        have = domains(gtids)
        return all(have.get(domain, -1) >= number for domain, number in domains(others).items())
    ours = intervals(gtids)
    return all(any(a <= c and d <= b for a, b in ours.get(source, ())) for source, spans in intervals(others).items() for c, d in spans)


@lru_cache(maxsize=16)
def domains(gtids: str) -> dict[int, int]:
    """MariaDB's list: by domain the last number."""
    return {int(domain): int(number) for domain, _, number in _MARIADB.findall(gtids)}


def behind(state: str, gtids: str) -> bool:
    """True where a MariaDB whose log ends with `state`, a GTID for each domain and server, has only older ones of a server in `gtids`."""
    last = {(domain, server): int(number) for domain, server, number in _MARIADB.findall(state)}
    return any(last.get((domain, server), int(number)) < int(number) for domain, server, number in _MARIADB.findall(gtids))


@lru_cache(maxsize=16)
def intervals(gtids: str) -> dict[str, tuple[tuple[int, int], ...]]:
    """MySQL's set: by server, or server and tag, its spans of numbers, both ends included, joined where they touch."""
    found: dict[str, list[tuple[int, int]]] = {}
    for part in filter(None, gtids.replace("\n", "").replace(" ", "").lower().split(",")):
        server, *rest = part.split(":")
        source = server
        for one in rest:
            if not one[:1].isdigit():
                source = f"{server}:{one}"
                continue
            first, _, last = one.partition("-")
            found.setdefault(source, []).append((int(first), int(last or first)))
    return {source: _joined(sorted(spans)) for source, spans in found.items()}


def _joined(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    made: list[tuple[int, int]] = []
    for first, last in spans:
        if made and first <= made[-1][1] + 1:
            made[-1] = made[-1][0], max(made[-1][1], last)
        else:
            made.append((first, last))
    return tuple(made)
