"""The consent to begin a new history, used once.

A person gives it by a reset without a time, which raises the data source's `history` number. Capture may answer a lost log with a new
history only where that number is higher than the last one that it worked under, which it notes beside the journal: a log that
is lost a second time then needs a second consent (P7).
"""

from __future__ import annotations

from pathlib import Path

from headwater.engine.followed import replace_durably


class Consent:
    """The note beside one journal. `given` is the data source's `history` as of the worker's start."""

    def __init__(self, directory: Path, given: int) -> None:
        self._note = directory / "history"
        self._given = given

    @property
    def stands(self) -> bool:
        """True where a consent was given that has not been used."""
        return self._given > self._used()

    def use(self) -> None:
        """Note durably that the consent is used up: a log has been opened under it."""
        if not self.stands and self._note.exists():
            return
        replace_durably(self._note, str(self._given))

    def _used(self) -> int:
        return int(self._note.read_text()) if self._note.exists() else 0
