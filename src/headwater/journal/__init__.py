"""The embedded journal: the history of one source in one SQLite database, with a side file and wake-ups beside it.

A directory holds `journal.db` (everything that counts), `progress` (where the history stands, for readers in a hurry),
`writer.lock` (there is one writer) and `wake/` (sockets of sleeping readers). SQLite gives atomic appends and recovery
after a kill at any byte; this package gives it whole transactions, times, retention and cheap reading at the end.
"""

from headwater.journal.reader import EmbeddedJournalReader, open_reader
from headwater.journal.writer import EmbeddedJournalWriter, open_writer

__all__ = ["EmbeddedJournalReader", "EmbeddedJournalWriter", "open_reader", "open_writer"]
