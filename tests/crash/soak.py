"""`make soak`: the crash plans, each for some minutes instead of a number of rounds, with nothing else on the machine."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.crash.test_pairs import PAIRS

PLANS = ("test_kill.py", "test_servers.py", "test_connections.py", "test_clock.py", "test_pairs.py")


def main() -> None:
    """Run the plans one after the other, in place of this process."""
    parser = argparse.ArgumentParser(prog="make soak ARGS=...", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long each plan is played (10)")
    parser.add_argument("--seed", type=int, default=0, help="repeat a run: the seed that it printed")
    parser.add_argument("--plan", choices=[plan.removeprefix("test_").removesuffix(".py") for plan in PLANS], help="only this one")
    parser.add_argument("--pair", help=f"play the plan `pairs` on this one, such as mysql-mysql ({', '.join(PAIRS)})")
    chosen = parser.parse_args()
    os.environ["HEADWATER_CRASH_MINUTES"] = str(chosen.minutes)
    if chosen.seed:
        os.environ["HEADWATER_CRASH_SEED"] = str(chosen.seed)
    if chosen.pair:
        os.environ["HEADWATER_CRASH_PAIR"] = chosen.pair
    plan = "pairs" if chosen.pair else chosen.plan
    plans = [f"test_{plan}.py"] if plan else PLANS
    files = [str(Path(__file__).with_name(plan)) for plan in plans]
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-q", "-s", *files])


if __name__ == "__main__":
    main()
