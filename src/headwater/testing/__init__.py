"""Shipped fakes: a scripted source, a target, a journal and a store in memory, scripted faults and a clock that tests move.

They keep the contracts of `headwater.ports` (the contract suites run over them as well) and are good enough to run the
real engine in one process, with a crash at any seam. Users who write a connector of their own can test against them.
"""

from headwater.testing.faults import Crash, FaultScript, MovedClock
from headwater.testing.journal import MemoryJournal
from headwater.testing.source import ScriptedSource
from headwater.testing.store import MemoryStore
from headwater.testing.target import MemoryTarget

__all__ = ["Crash", "FaultScript", "MemoryJournal", "MemoryStore", "MemoryTarget", "MovedClock", "ScriptedSource"]
