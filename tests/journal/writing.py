"""A process that appends until it is killed: `python writing.py DIRECTORY SEED`. Prints each new end when it is promised."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from headwater.journal import EmbeddedJournalWriter, open_writer
from headwater.ports.journal import Retention
from tests.journal import histories

NEVER = 1 << 60


def append(writer: EmbeddedJournalWriter, chance: random.Random) -> int:
    """One append of a random shape."""
    at = writer.end().next_offset
    shape = chance.random()
    if shape < 0.1:
        for part in histories.parts(at):
            writer.append([part], f"before {at}", at)
        return writer.end().next_offset
    count = 300 if shape > 0.97 else chance.randint(1, 4)
    return writer.append([histories.whole(range(at, at + count))], f"at {at + count}", at + count)


def main(directory: Path, chance: random.Random) -> None:
    """Append, beat, and drop now and then."""
    writer = open_writer(directory)
    print("open", flush=True)
    while True:
        print(append(writer, chance), flush=True)
        if chance.random() < 0.05:
            writer.heartbeat(f"beat {writer.end().next_offset}", writer.end().next_offset + 1)
        if chance.random() < 0.02:
            writer.retain(Retention(NEVER, 400_000, NEVER), None, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), random.Random(sys.argv[2]))
