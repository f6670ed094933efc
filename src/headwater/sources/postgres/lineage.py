"""Whose log a place is in: told by the server's system identifier and timeline, so that a fail-over is gone along with where that is exact.

A standby that is promoted begins a new timeline: up to the switch its log is that of the old server, behind it its own. The same
place means something else on both. So what was captured is held against the switch: where we are beyond it, the
promoted server never had what we have, and going on would be silent corruption.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from headwater.ports.source import Trail
from headwater.sources.postgres import positions

_HISTORY_LINE = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", re.MULTILINE)


@dataclass(frozen=True)
class Lineage:
    """A server's history: `switches` gives the place at which each earlier timeline was left."""

    system: str
    timeline: int
    switches: Mapping[int, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """As it is noted with what was captured."""
        return f"{self.system}/{self.timeline}"


@dataclass(frozen=True)
class Joined:
    """Where to go on after `after`, which may lie a little before what was heard; or why that is not possible."""

    after: int | None
    reason: str = ""


def identify(connection: psycopg.Connection[Any]) -> Lineage:
    """Ask the server behind a replication session."""
    row = connection.execute("IDENTIFY_SYSTEM").fetchone()
    assert row is not None
    system, timeline = str(row[0]), int(row[1])
    switches: dict[int, int] = {}
    if timeline > 1:
        told = connection.execute(f"TIMELINE_HISTORY {timeline}".encode()).fetchone()
        assert told is not None
        content = bytes(told[1]).decode("utf-8", "replace") if isinstance(told[1], (bytes, memoryview)) else str(told[1])
        switches = {int(number): positions.parse(place) for number, place in _HISTORY_LINE.findall(content)}
    return Lineage(system, timeline, switches)


def join(server: Lineage, after: int | None, trail: Trail) -> Joined:
    """Whether the server's log goes on from what was captured. Pure.

    Places between the last captured transaction and `after` hold nothing of ours: a promotion there is gone along with."""
    if after is None or not trail.history or trail.history == server.text:
        return Joined(after)
    system, _, timeline = trail.history.partition("/")
    if system != server.system:
        return Joined(after, f"this is another server (system identifier {server.system}, and not {system})")
    switch = server.switches.get(int(timeline))
    if switch is None:
        return Joined(after, f"its history (timeline {server.timeline}) does not come from the one that was captured (timeline {timeline})")
    captured = after if trail.upto is None else positions.parse(trail.upto)
    if captured > switch:
        switched = f"this server was promoted at {positions.text(switch)}"
        return Joined(after, f"{switched}, and lacks what was captured from the old one after that, up to {positions.text(captured)}")
    return Joined(min(after, switch))
