"""The faults that heal by themselves, by what they hit: our processes, the two servers, the connections to them."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Any, Literal

from tests.crash.headwater_process import Victim, now_ms
from tests.crash.plans import Fault
from tests.crash.stage import Stage
from tests.databases import wait_until

Side = Literal["source", "target"]
SIDES: tuple[Side, ...] = ("source", "target")

# -- processes


def killed(victim: Victim) -> Fault:
    """kill -9 of one of ours; the service is started again, as whatever watches over it would."""

    def strike(stage: Stage[Any], random: Random) -> None:
        with stage.exclusive:
            if victim == "service":
                stage.headwater.kill()
                stage.headwater.start()
            else:
                stage.headwater.worker(victim).kill()

    return Fault(f"kill -9 of the {victim}", 5.0, strike)


def frozen(victim: Victim) -> Fault:
    """SIGSTOP, and SIGCONT a moment later."""

    def strike(stage: Stage[Any], random: Random) -> None:
        with stage.exclusive, stage.headwater.frozen(victim):
            time.sleep(random.uniform(0.1, 1.0))

    return Fault(f"SIGSTOP and SIGCONT of the {victim}", 5.0, strike)


def reset_in_between(stage: Stage[Any], random: Random) -> None:
    """A reset, to a moment or to the beginning, and kill -9 while it goes on."""
    moment = random.randint(stage.began_ms, now_ms()) if random.random() < 0.6 else None
    call = threading.Thread(target=stage.headwater.try_reset, args=(stage.task_id, moment), daemon=True)
    with stage.exclusive:
        call.start()
        if random.random() < 0.5:
            time.sleep(random.uniform(0, 0.15))
            stage.headwater.kill()
            stage.headwater.start()
            call.join(60)
        else:
            call.join(60)
            time.sleep(random.uniform(0, 0.8))
            stage.headwater.worker(random.choice(("apply", "capture"))).kill()
    assert not call.is_alive()


RESET = Fault("kill -9 within a reset, or the copy after it", 10.0, reset_in_between)


PROCESSES = [make(victim) for victim in ("apply", "capture", "service") for make in (killed, frozen)]


# -- servers


def restarted(side: Side) -> Fault:
    """A server that crashes, is away for a moment, and comes back."""

    def strike(stage: Stage[Any], random: Random) -> None:
        cluster = stage.databases[side].cluster
        with stage.servers:
            cluster.stop("immediate")
            try:
                time.sleep(random.uniform(0, 1.5))
            finally:
                cluster.start()

    return Fault(f"restart of the {side} (immediate)", 5.0, strike)


def sessions_ended(side: Side) -> Fault:
    """Somebody ends all our sessions there."""

    def strike(stage: Stage[Any], random: Random) -> None:
        with stage.servers:
            stage.sides[side].end_sessions()

    return Fault(f"our sessions at the {side} are ended", 5.0, strike)


def _locked(stage: Stage[Any], random: Random) -> None:
    table = random.choice(("account", "transfer", ".".join(stage.target.record("checkpoint"))))
    with stage.servers, stage.sides["target"].lock(table):
        time.sleep(random.uniform(0.2, 1.5))


LOCKED = Fault("a lock on a target table", 5.0, _locked)


def _rotated(stage: Stage[Any], random: Random) -> None:
    with stage.servers:
        stage.source.run("FLUSH BINARY LOGS")


ROTATED = Fault("the source begins a new log file", 5.0, _rotated)
"""Of MariaDB and MySQL."""

SERVERS = [*(restarted(side) for side in SIDES), *(sessions_ended(side) for side in SIDES), LOCKED]


# -- connections


def cut(side: Side) -> Fault:
    """All connections are reset at once."""

    def strike(stage: Stage[Any], random: Random) -> None:
        stage.doors[side].cut()

    return Fault(f"connections to the {side} are reset", 5.0, strike)


def closed(side: Side) -> Fault:
    """All connections are reset, and new ones for a while as well."""

    def strike(stage: Stage[Any], random: Random) -> None:
        with stage.doors[side].closed():
            time.sleep(random.uniform(0.2, 1.5))

    return Fault(f"the {side} can't be reached", 5.0, strike)


def stalled(side: Side) -> Fault:
    """Nothing comes through for a while, and nobody is told."""

    def strike(stage: Stage[Any], random: Random) -> None:
        with stage.doors[side].stalled():
            time.sleep(random.uniform(0.2, 1.5))

    return Fault(f"connections to the {side} stall", 5.0, strike)


def slow(side: Side) -> Fault:
    """Everything takes longer for a while."""

    def strike(stage: Stage[Any], random: Random) -> None:
        with stage.doors[side].slow(random.uniform(0.005, 0.05)):
            time.sleep(random.uniform(0.5, 1.5))

    return Fault(f"connections to the {side} are slow", 5.0, strike)


def _robbed(stage: Stage[Any], random: Random) -> None:
    door = stage.doors["target"]
    door.rob()
    wait_until(lambda: door.robbed, 60, "a COMMIT to rob of its answer")


ROBBED = Fault("the answer of a COMMIT is lost", 5.0, _robbed)


def _torn(stage: Stage[Any], random: Random) -> None:
    door = stage.doors["source"]
    door.tear()
    wait_until(lambda: door.torn, 60, "something to tear")


TORN = Fault("an answer of the source ends in its middle", 5.0, _torn)

CONNECTIONS = [ROBBED, TORN, *(make(side) for side in SIDES for make in (cut, closed, stalled, slow))]
