"""An open transaction at a target, and what errors do to it: the same for every kind of database that has savepoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from headwater.domain.errors import HeadwaterError, RowRefused


class Session(Protocol):
    """A connection with what is known of its transaction."""

    def execute(self, statement: str) -> None:
        """Run a statement without values."""

    def mark(self) -> Any:
        """What is known now, for `back`."""

    def back(self, mark: Any) -> None:
        """The server has gone back to a savepoint that was set when the mark was taken."""

    def rollback(self) -> None:
        """Give the transaction up; a connection that can't even do that is closed."""


class OpenTransaction:
    """`asked` tells, for any thread, that the server owes an answer."""

    def __init__(self, session: Session, driver_error: type[Exception], translate: Callable[[Any, str], HeadwaterError]) -> None:
        self._session, self._driver_error, self._translate = session, driver_error, translate
        self._depth = 0  # of savepoints
        self.asked = False

    @contextmanager
    def asking(self, doing: str) -> Iterator[None]:
        """The server owes an answer. The driver's error becomes ours, and ends the transaction, but for what `tentatively` undoes."""
        self.asked = True
        try:
            yield
        except self._driver_error as error:
            refusal = self._translate(error, doing)
            if not (self._depth and isinstance(refusal, RowRefused)):
                self._session.rollback()
            raise refusal from None
        except RowRefused:
            if not self._depth:
                self._session.rollback()
            raise
        finally:
            self.asked = False

    @contextmanager
    def tentatively(self, *, keep: bool) -> Iterator[None]:
        """See `Writing.tentatively`."""
        name = f"headwater_{self._depth}"  # to MySQL the same name again would be the same savepoint
        self._savepoint(f"SAVEPOINT {name}")
        mark = self._session.mark()
        self._depth += 1
        try:
            yield
        except RowRefused:
            self._back(name, mark)
            raise
        finally:
            self._depth -= 1
        if keep:
            self._savepoint(f"RELEASE SAVEPOINT {name}")
        else:
            self._back(name, mark)

    def _back(self, name: str, mark: Any) -> None:
        self._savepoint(f"ROLLBACK TO SAVEPOINT {name}")
        self._savepoint(f"RELEASE SAVEPOINT {name}")
        self._session.back(mark)

    def _savepoint(self, what: str) -> None:
        with self.asking("setting a savepoint"):
            self._session.execute(what)
