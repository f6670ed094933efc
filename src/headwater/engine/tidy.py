"""Tidying up at other people's databases: what we made at a source that no task needs any more, what deleted tasks left at targets.

Such work talks to databases that may be slow or down, so it happens aside, one thing at a time, and is tried again until it works.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from headwater.domain.errors import HeadwaterError
from headwater.engine.log import Log
from headwater.engine.wishes import Wishes
from headwater.ports.source import Source
from headwater.ports.store import DataSource, Leftover, Store
from headwater.ports.target import Target

LOOK_S = 5.0
"""How often it is looked for what is to be tidied."""

AGAIN_S = 30.0
"""Pause after something could not be tidied."""

log = Log("headwater.tidy")


class Tidy:
    """The work aside. `step` is called by the supervisor's thread; everything else happens in one thread of its own."""

    def __init__(
        self,
        store: Store,
        source: Callable[[DataSource], Source],
        target: Callable[[DataSource], Target],
        journal_dir: Callable[[str], Path],
    ) -> None:
        self._store, self._source, self._target, self._journal_dir = store, source, target, journal_dir
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="tidy")
        self._releases: dict[str, Future[None]] = {}
        self._leftovers: Future[None] | None = None
        self._look_at = 0.0
        self._again_at: dict[str, float] = {}

    def releasing(self, source_id: str) -> bool:
        """True while a source is being released: no capture may begin there."""
        return source_id in self._releases

    def step(self, wishes: Wishes, captured: set[str], now: float) -> None:
        """Take note of what is done and begin what is due. `captured` are the sources where a capture still runs."""
        for source_id in [i for i, future in self._releases.items() if future.done()]:
            self._note(source_id, self._releases.pop(source_id), now)
        if self._leftovers is not None and self._leftovers.done():
            self._note("leftovers", self._leftovers, now)
            self._leftovers = None
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for data_source in self._store.data_sources():
            wanted = data_source.id in wishes.captures or data_source.id in captured or data_source.id in self._releases
            if data_source.published and not wanted and self._due(data_source.id, now):
                self._releases[data_source.id] = self._aside.submit(self._release, data_source)
        if self._leftovers is None and self._due("leftovers", now) and (left := self._store.leftovers()):
            self._leftovers = self._aside.submit(self._forget, left)

    def close(self) -> None:
        """Begin nothing more. What is under way is begun again by the next service."""
        self._aside.shutdown(wait=False, cancel_futures=True)

    def _due(self, what: str, now: float) -> bool:
        return now >= self._again_at.get(what, 0.0)

    def _note(self, what: str, future: Future[None], now: float) -> None:
        self._look_at = 0.0
        error = future.exception()
        if error is None:
            self._again_at.pop(what, None)
            return
        self._again_at[what] = now + AGAIN_S
        said = str(error) if isinstance(error, HeadwaterError) else type(error).__name__
        log.warning("tidy_failed", what=what, message=said, again_s=AGAIN_S)

    def _release(self, data_source: DataSource) -> None:
        """Drop what capture made at the source, and its journal: nobody stands in that history any more."""
        self._source(data_source).release()
        directory = self._journal_dir(data_source.id)
        if directory.exists():
            shutil.rmtree(directory)
        self._store.set_published(data_source.id, False)
        log.info("source_released", id=data_source.id)

    def _forget(self, leftovers: list[Leftover]) -> None:
        """Remove the checkpoints of deleted tasks; each that can't be removed stays on record with the reason."""
        for leftover in leftovers:
            data_source = self._store.data_source(leftover.data_source_id)
            if data_source is None:
                continue
            try:
                self._target(data_source).forget(leftover.task_id)
            except HeadwaterError as error:
                self._store.save_leftover(replace(leftover, message=str(error)))
                continue
            self._store.delete_leftover(leftover.id)
        if left := self._store.leftovers():
            raise HeadwaterError(f"{len(left)} checkpoints of deleted tasks could not be removed; the first: {left[0].message}")
