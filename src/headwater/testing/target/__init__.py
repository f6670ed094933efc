"""A target in memory with real transactions, epochs that fence, and answers that can get lost.

A run's writes are tried on a private view and become real at the commit, under one lock, where its epoch is checked: as in
a database, a run with an old epoch may write as much as it likes and can't commit. Keys are unique, and inserting one twice is
refused, so that an engine that wrongly believes a row to be absent is found out.
"""

from headwater.testing.target.run import MemoryTargetRun
from headwater.testing.target.tables import MemoryTable
from headwater.testing.target.target import MemoryTarget

__all__ = ["MemoryTable", "MemoryTarget", "MemoryTargetRun"]
