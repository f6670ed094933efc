"""`headwater task verify` against the real API: what it shows while it waits and at the end, and its exit status."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.api.metrics import exposition
from headwater.client import Client
from headwater.domain.mapping import ColumnPair
from headwater.ports.runtime import KeyDifference, VerifiedTable
from headwater.ports.store import Mapping
from tests.client.test_cli_tasks import client, run, served
from tests.databases import wait_until
from tests.serving import Served

__all__ = ["client", "served"]

KEYS = tuple(KeyDifference((str(i), "ü"), "differing", repaired=i == 0) for i in range(30))
TABLES = (
    VerifiedTable("m1", "public.a", "public.a", "different", 1500, 1500, missing=1, differing=30, repaired=1, keys=KEYS),
    VerifiedTable("m2", "public.b", "public.c", "not_compared", message="It is not copied yet.", left_out=("x (a) and y (b)",)),
)


@pytest.fixture
def task_id(client: Client, served: Served) -> str:
    """A task that may be verified."""
    made = client.create_task("shop")
    served.store.save_mapping(Mapping("m", made, "public.a", "public.a", (ColumnPair("id", "id", True),), (), (), (), "MANUAL", 100, 0))
    served.store.next_epoch(made)
    return made


@contextmanager
def ending(served: Served, **changes: object) -> Iterator[None]:
    """A stand-in for the engine: it ends the verification that is wished next."""

    def end() -> None:
        (wished,) = wait_until(lambda: served.store.verifications(only_open=True), what="it is wished")
        served.store.save_verification(replace(wished, **{"started_ms": 5, "ended_ms": 6, **changes}))  # type: ignore[arg-type]

    thread = threading.Thread(target=end)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize(("outcome", "status"), [("equal", 0), ("repaired", 0), ("different", 1), ("unsettled", 4), ("failed", 4)])
def test_the_exit_status_tells_the_outcome(task_id: str, served: Served, outcome: str, status: int) -> None:
    with ending(served, outcome=outcome, message="what came out"):
        ended = run("verify", task_id)
    assert (ended.exit_code, outcome in ended.stdout, "what came out" in ended.stdout) == (status, True, True)


def test_what_differs_is_shown(task_id: str, served: Served) -> None:
    with ending(served, outcome="different", tables=TABLES, offset=42):
        text = run("verify", "shop").stdout
    shown = (
        "public.a (0, ü): differing, repaired",
        "public.a (19, ü): differing\n",
        "10 more keys",
        "public.b → public.c: It is not copied yet.",
    )
    for words in (*shown, "left out: x (a) and y (b)", "not compared", "1,500"):
        assert words in text
    line = next(line for line in run("show", "shop").stdout.splitlines() if line.startswith("verified"))
    assert "different: 1 missing, 30 differing, 1 repaired" in line
    with ending(served, outcome="equal", tables=(), offset=42):
        answer = json.loads(run("verify", "shop", "--json").stdout)
    assert (answer["outcome"], answer["offset"], answer["tables"]) == ("equal", 42, [])
    assert "equal, up to offset 42" in run("show", "shop").stdout


def test_refusals_and_cancelling(task_id: str, served: Served, client: Client) -> None:
    refused = run("verify", task_id, "--repair")
    assert (refused.exit_code, "only a running task" in refused.stderr) == (1, True)
    assert run("verify", task_id, "--cancel").exit_code == 1
    begun = client.verify(task_id)
    cancelled = run("verify", task_id, "--cancel")
    assert (cancelled.exit_code, begun["id"] in cancelled.stdout) == (0, True)
    assert [v["outcome"] for v in client.verifications(task_id)] == ["cancelled"]


def test_metrics_tell_of_the_last_verification(task_id: str, served: Served, client: Client) -> None:
    with ending(served, outcome="different", tables=TABLES):
        client.verify(task_id)
    text = exposition(served.parts.services.vitals).decode()
    assert f'headwater_verification_ended_seconds{{name="shop",outcome="different",task="{task_id}"}} 0.006' in text
    assert f'headwater_verification_different_rows{{name="shop",task="{task_id}"}} 30.0' in text


def test_keys_are_encrypted_at_rest(task_id: str, served: Served, tmp_path: Path) -> None:
    secret = VerifiedTable("m1", "public.a", "public.a", "different", keys=(KeyDifference(("a secret key",), "missing"),))
    with ending(served, outcome="different", tables=(secret,)):
        run("verify", task_id)
    assert b"a secret key" not in (tmp_path / "headwater.db").read_bytes()
    assert served.store.verifications(task_id)[0].tables == (secret,)
