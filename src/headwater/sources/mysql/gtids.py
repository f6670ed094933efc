"""What has passed of a log, in GTIDs, and the places in words that go with it."""

from __future__ import annotations

from headwater.sources.mysql import positions
from headwater.sources.mysql.positions import Position


class Places:
    """Words places for the decoder (`wire.binlog.Places`), from `start` on. `mariadb` has one number per domain, MySQL sets of them.

    Where the log is followed by GTIDs, at another server than that of `start`, its file and offset mean nothing until something has come.
    While the log is read again from a place before `start` (`rereading`), nothing counts, and the place is `start`.
    """

    rereading = False

    def __init__(self, start: Position, mariadb: bool, server: str, elsewhere: bool) -> None:
        self._start = str(start)
        self._server = server
        self._moved = not elsewhere
        self._mariadb = mariadb
        self._domains = {gtid.partition("-")[0]: gtid for gtid in start.gtids.split(",") if gtid} if mariadb else {}
        self._others = "" if mariadb else start.gtids
        self._source, self._spans, self._last = "", "", -1
        self._gtids = start.gtids
        self._since = "" if elsewhere else positions.spelled(start.since)

    def arrived(self) -> None:
        """Everything that the server had for us has come: its own word for where it stands holds."""
        self._moved = True

    def prepared_since(self, since: tuple[int, int] | None) -> None:
        """Where the first transaction begins that is prepared and not yet committed."""
        self._since = positions.spelled(since)

    def passed(self, gtid: str) -> None:
        """See `wire.binlog.Places`."""
        if self.rereading:
            return
        self._moved = True
        if not gtid:
            return
        if self._mariadb:
            self._domains[gtid.partition("-")[0]] = gtid
            self._gtids = gtid if len(self._domains) == 1 else ",".join(self._domains[domain] for domain in sorted(self._domains, key=int))
            return
        source, _, number = gtid.rpartition(":")
        if source != self._source or int(number) != self._last + 1:
            self._turn_to(source, int(number))
        self._last = int(number)
        self._gtids = f"{self._others}{self._source}:{self._spans}-{number}"

    def text(self, file: str, offset: int) -> str:
        """See `wire.binlog.Places`."""
        counts = self._moved and not self.rereading
        return f"{file}:{offset};{self._gtids};{self._server}{self._since}" if counts else self._start

    def _turn_to(self, source: str, number: int) -> None:
        """The set anew, with the span that grows now at its end."""
        found = {name: list(spans) for name, spans in positions.intervals(self._gtids).items()}
        spans = found.pop(source, [])
        before = next((span for span in spans if span[0] <= number <= span[1] + 1), None)
        spans = sorted(span for span in spans if span != before)
        self._others = "".join(f"{name}:{_spelled(parts)}," for name, parts in sorted(found.items()))
        self._source = source
        self._spans = f"{_spelled(spans)}:{before[0] if before else number}".lstrip(":")


def _spelled(spans: list[tuple[int, int]]) -> str:
    return ":".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
