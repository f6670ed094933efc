"""The model between real databases for as long as one likes: `python -m tests.model.soak --minutes 10 --seed 7 --pair mariadb-mysql`.

Every history has a seed of its own, which is printed before it begins; the same seed and pair play it again.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count, cycle

from headwater.clusters import PrivateMariadb, PrivateMysql, PrivatePostgres
from tests.databases import AnyDatabase, create
from tests.model.real_world import between, play

SERVERS = {"postgres": PrivatePostgres, "mariadb": PrivateMariadb, "mysql": PrivateMysql}
PAIRS = [f"{source}-{target}" for source in ("scripted", *SERVERS) for target in SERVERS]


def main() -> None:
    """Play history after history, over the pairs in turn, until the time is over or one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.model.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to go on (10)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 10**6), help="the first one; the others count on")
    parser.add_argument("--steps", type=int, default=40, help="the length of a history (40)")
    parser.add_argument("--pair", choices=PAIRS, action="append", help="only this one, or these (all)")
    chosen = parser.parse_args()
    until = time.monotonic() + chosen.minutes * 60
    with databases(chosen.pair or PAIRS) as pairs:
        for seed, (pair, (source, target)) in zip(count(chosen.seed), cycle(pairs.items())):
            if time.monotonic() >= until:
                return
            print(f"{pair}: --seed {seed} --steps {chosen.steps} --pair {pair}", flush=True)
            play(between(source, target), seed, 1, chosen.steps)


@contextmanager
def databases(pairs: list[str]) -> Iterator[dict[str, tuple[AnyDatabase | None, AnyDatabase]]]:
    """Source and target of each pair, on servers that are started for it; one server is each kind's source, another its target."""
    with ExitStack() as stack:
        made: dict[tuple[str, str], AnyDatabase] = {}

        def at(kind: str, role: str) -> AnyDatabase:
            if (kind, role) not in made:
                made[kind, role] = create(stack.enter_context(SERVERS[kind]()), f"model_{role}")
            return made[kind, role]

        named = {pair: pair.split("-") for pair in pairs}
        yield {
            pair: (None if source == "scripted" else at(source, "source"), at(target, "target")) for pair, (source, target) in named.items()
        }


if __name__ == "__main__":
    main()
