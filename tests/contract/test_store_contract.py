"""One suite for every metadata store: what `ports/store.py` promises, on SQLite, on PostgreSQL, and in the shipped fake.

To add a store: one branch in `store` that makes an empty one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headwater.domain.errors import HeadwaterError
from headwater.domain.mapping import ColumnPair
from headwater.ports.runtime import KeyDifference, VerifiedTable
from headwater.ports.store import AccessKey, DataSource, Leftover, Mapping, Reset, Run, Scope, Store, Task, Token, User, Verification
from headwater.store import SqlStore, migrate
from headwater.testing import MemoryStore
from tests.databases import Database

OURS = Scope("p" * 32, "instance-1")
THEIRS = Scope("q" * 32, "instance-2")
KEY = b"a secret key of thirty-two bytes"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    else:
        database: Database | None = request.getfixturevalue("newest_database") if request.param == "postgres" else None
        url = database.url if database else f"sqlite:///{tmp_path / 'metadata.db'}"
        migrate(url)
        made = SqlStore(url, KEY)
    yield made
    made.close()


def data_source(name: str = "source", scope: Scope = OURS) -> DataSource:
    content: dict[str, Any] = {"host": "db.example", "port": "5432", "ssl_enable": True, "extra": {"deep": [1, None, "ü"]}}
    return DataSource(name, scope, "app", f"The {name}", "POSTGRESQL", "", content, {"password": "pass'wörd"}, 1, 2)


def task(task_id: str = "task", scope: Scope = OURS, **changes: Any) -> Task:
    made = Task(
        id=task_id,
        scope=scope,
        name=f"name-{task_id}",
        task_type="REALTIME",
        description="what it is for",
        tag="tag",
        operations=frozenset({"INSERT", "DELETE"}),
        source_id=None,
        target_id=None,
        source_app_id="app",
        target_app_id="app",
        saved=True,
        wished=False,
        state="saved",
        error_kind="",
        message="",
        epoch=0,
        started_once=False,
        created_ms=2**40,
        modified_ms=2**41,
        ext_info={"server_id": "7"},
    )
    return replace(made, **changes)


def mapping(name: str, of: str = "task") -> Mapping:
    return Mapping(
        id=name,
        task_id=of,
        source_table="public.a",
        target_table="other.b",
        columns=(ColumnPair("id", "id", key=True), ColumnPair("x", "y")),
        source_columns=({"field_name": "id", "field_type": "bigint"}, {"field_name": "x", "field_type": "text"}),
        target_columns=({"field_name": "id", "field_type": "bigint"},),
        pairs=({"source_column": "id", "target_column": "id"},),
        status="MANUAL",
        percent=66,
        updated_ms=5,
        revision=3,
    )


def run(name: str, of: str = "task", epoch: int = 1) -> Run:
    return Run(name, of, epoch, 10, None, "running", "", {"rows_read": 2**40, "tables": [{"rows": 1}]}, ("noted",))


def reset(name: str, of: str = "task", **changes: Any) -> Reset:
    made = Reset(name, of, "admin", 10, 2**41, 2**51, 2**33, 5, 0, "done", "", None)
    return replace(made, **changes)


def user(name: str = "admin", scope: Scope = OURS) -> User:
    return User(f"id-{name}", "d", "domain", name, "$argon2id$hash", scope, f"app-{name}", "The app", "The project")


def in_parallel(count: int, call: Callable[[], object]) -> list[object]:
    """What `count` threads got when they called at the same time."""
    answers: list[object] = []
    barrier = threading.Barrier(count)

    def work() -> None:
        barrier.wait()
        answers.append(call())

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == count, "a thread failed"
    return answers


def test_an_empty_store_finds_nothing(store: Store) -> None:
    store.ping()
    assert store.task("t") is None
    assert store.tasks() == []
    assert store.mappings("t") == []
    assert store.runs("t", 10) == []
    assert store.resets() == []
    assert store.verifications() == []
    assert store.data_source("d") is None
    assert store.data_sources() == []
    assert store.leftovers() == []
    assert store.first_user() is None
    assert store.user("u") is None
    assert store.user_by_name("d", "u") is None
    assert store.access_key("a") is None
    assert store.token("t") is None
    assert store.app_names(OURS) == {}


@pytest.mark.parametrize("strange", ["\0", "a\0b", "\ud800", "'; DROP TABLE tasks; --", "x" * 100_000, ""])
def test_looking_up_by_any_text_finds_nothing(store: Store, strange: str) -> None:
    assert store.task(strange, OURS) is None
    assert store.data_source(strange, OURS) is None
    assert store.delete_mapping("task", strange) is False
    assert store.user(strange) is None
    assert store.user_by_name(strange, strange) is None
    assert store.access_key(strange) is None
    assert store.token(strange) is None


def test_a_task_comes_back_as_it_was_saved(store: Store) -> None:
    store.save_data_source(data_source("source"))
    store.save_data_source(data_source("target"))
    saved = task(source_id="source", target_id="target")
    store.save_task(saved)
    assert store.task("task") == saved
    assert store.task("task", OURS) == saved


def test_nobody_sees_anothers(store: Store) -> None:
    store.save_task(task())
    store.save_data_source(data_source())
    half = Scope(OURS.project_id, THEIRS.instance_id)
    for other in (THEIRS, half, Scope(THEIRS.project_id, OURS.instance_id)):
        assert store.task("task", other) is None
        assert store.tasks(other) == []
        assert store.data_source("source", other) is None
        assert store.data_sources(other) == []


def test_listings_are_oldest_first_and_leave_out_what_is_not_created_yet(store: Store) -> None:
    for name in ("z", "a", "m"):
        store.save_task(task(name))
        store.save_data_source(data_source(name))
    store.save_task(task("draft", saved=False))
    store.save_task(task("z", name="renamed"))  # replacing doesn't move it
    store.save_task(task("other", THEIRS))
    assert [t.id for t in store.tasks(OURS)] == ["z", "a", "m"]
    assert [t.id for t in store.tasks()] == ["z", "a", "m", "other"]
    assert [d.id for d in store.data_sources(OURS)] == ["z", "a", "m"]
    assert store.task("draft") is not None


def test_saving_a_task_leaves_the_wish_and_the_facts_alone(store: Store) -> None:
    store.save_task(task())
    store.wish("task", True)
    store.record_state("task", "failed", "slot_lost", "gone")
    store.next_epoch("task")
    store.record_notes("task", ("one", "other"))
    store.save_task(task(name="new-name", modified_ms=9))
    found = store.task("task")
    assert found is not None
    assert (found.name, found.modified_ms) == ("new-name", 9)
    assert (found.wished, found.state, found.error_kind, found.message) == (True, "failed", "slot_lost", "gone")
    assert (found.epoch, found.started_once, found.notes) == (1, True, ("one", "other"))
    store.record_notes("task", ())
    assert [t.notes for t in store.tasks()] == [()]


def test_a_wish_is_true_only_where_it_changes_something(store: Store) -> None:
    store.save_task(task())
    assert store.wish("task", False) is False
    assert store.wish("task", True) is True
    assert store.wish("task", True) is False
    assert store.wish("task", False) is True
    assert store.wish("nobody", True) is False


def test_a_wish_to_run_clears_the_error_and_a_failed_task_can_be_wished_again(store: Store) -> None:
    store.save_task(task())
    store.wish("task", True)
    store.record_state("task", "failed", "slot_lost", "gone")
    assert store.wish("task", True) is True
    found = store.task("task")
    assert found is not None
    assert (found.state, found.error_kind, found.message, found.wished) == ("starting", "", "", True)
    assert store.wish("task", True) is False


def test_a_wish_to_stop_records_nothing(store: Store) -> None:
    store.save_task(task())
    store.wish("task", True)
    store.record_state("task", "following")
    store.wish("task", False)
    found = store.task("task")
    assert found is not None
    assert (found.state, found.wished) == ("following", False)


def test_no_word_of_a_broken_worker_breaks_the_store(store: Store) -> None:
    strange = "half \ud800 a \0 sentence"
    store.save_task(task())
    store.save_data_source(data_source())
    store.record_state("task", "failed", "internal", strange)
    store.save_run(replace(run("r"), outcome=strange, message=strange, counters={"said": strange}))
    store.save_reset(reset("x", by=strange, message=strange))
    store.save_leftover(Leftover("l", "source", "task", 1, strange))
    found = store.task("task")
    assert found is not None
    assert found.state == "failed"
    said = [found.message, store.runs("task", 1)[0].message, store.resets("task")[0].message, store.leftovers()[0].message]
    assert all(one.startswith("half ") and one.endswith(" sentence") for one in said)


def test_only_one_of_many_starts_wins(store: Store) -> None:
    store.save_task(task())
    assert sorted(map(bool, in_parallel(8, lambda: store.wish("task", True)))) == [False] * 7 + [True]


def test_no_epoch_is_given_out_twice(store: Store) -> None:
    store.save_task(task())
    answers = in_parallel(8, lambda: store.next_epoch("task"))
    assert sorted(int(str(answer)) for answer in answers) == list(range(1, 9))


def test_an_epoch_of_a_missing_task_is_refused(store: Store) -> None:
    with pytest.raises(HeadwaterError):
        store.next_epoch("nobody")


def test_deleting_a_task_takes_its_records_along_and_no_others(store: Store) -> None:
    for name in ("task", "other"):
        store.save_task(task(name))
        store.save_mapping(mapping(f"m-{name}", name))
        store.save_run(run(f"r-{name}", name))
        store.save_reset(reset(f"x-{name}", name))
    store.delete_task("task")
    store.delete_task("task")
    assert store.task("task") is None
    assert store.mappings("task") == []
    assert store.runs("task", 9) == []
    assert [r.id for r in store.resets()] == ["x-other"]
    assert [m.id for m in store.mappings("other")] == ["m-other"]
    assert [r.id for r in store.runs("other", 9)] == ["r-other"]


def test_mappings_come_back_in_order_as_they_were_saved(store: Store) -> None:
    store.save_task(task())
    for name in ("z", "a"):
        store.save_mapping(mapping(name))
    changed = replace(mapping("z"), columns=(ColumnPair("id", "k", key=True),), revision=4)
    store.save_mapping(changed)
    assert store.mappings("task") == [changed, mapping("a")]
    assert store.delete_mapping("other", "z") is False
    assert store.delete_mapping("task", "z") is True
    assert store.delete_mapping("task", "z") is False
    assert [m.id for m in store.mappings("task")] == ["a"]


def test_several_mappings_are_saved_at_once(store: Store) -> None:
    store.save_task(task())
    store.save_mappings([mapping("z"), mapping("a")])
    store.save_mappings([])
    store.save_mappings([replace(mapping("z"), percent=1), mapping("m")])
    assert store.mappings("task") == [replace(mapping("z"), percent=1), mapping("a"), mapping("m")]


def test_mappings_of_all_tasks_at_once(store: Store) -> None:
    for name in ("b", "a", "bare"):
        store.save_task(task(name))
    store.save_mappings([mapping("1", "b"), mapping("3", "a"), mapping("2", "b")])
    assert store.mappings_by_task() == {"b": store.mappings("b"), "a": store.mappings("a")}
    assert [m.id for m in store.mappings_by_task()["b"]] == ["1", "2"]


def test_only_old_drafts_are_dropped(store: Store) -> None:
    for name, saved, modified_ms in (("saved", True, 1), ("old", False, 99), ("new", False, 100)):
        store.save_task(task(name, saved=saved, modified_ms=modified_ms))
        store.save_mapping(mapping(f"m-{name}", name))
    store.drop_drafts(100)
    assert store.task("old") is None
    assert store.mappings("old") == []
    assert store.task("new") is not None
    assert [t.id for t in store.tasks()] == ["saved"]


def test_a_changed_mapping_has_another_incarnation(store: Store) -> None:
    first, second = replace(mapping("m"), revision=0), replace(mapping("m"), revision=1)
    assert first.incarnation == "m"
    assert second.incarnation != first.incarnation
    assert second.table_mapping(frozenset({"INSERT"})).mapping_id == second.incarnation


def test_runs_are_newest_first_and_paged(store: Store) -> None:
    store.save_task(task())
    for name in ("first", "second", "third"):
        store.save_run(run(name))
    ended = replace(run("first"), ended_ms=2**41, outcome="stopped", counters={})
    store.save_run(ended)
    assert [r.id for r in store.runs("task", 2)] == ["third", "second"]
    assert store.runs("task", 2, 2) == [ended]
    assert store.runs("task", 10)[0] == run("third")


def test_records_of_a_deleted_task_are_not_kept(store: Store) -> None:
    """The supervisor may end a run whose task has just been deleted."""
    store.save_run(run("late"))
    store.save_reset(reset("late"))
    assert store.runs("task", 9) == []
    assert store.resets() == []


def test_accepting_a_reset_raises_the_epoch_with_it(store: Store) -> None:
    """P6: the record and the fence are one write."""
    store.save_task(task(epoch=4))
    accepted = store.accept_reset(reset("r", outcome="whatever", epoch=99))
    assert accepted == reset("r", outcome="accepted", epoch=5)
    assert store.resets("task", "accepted") == [accepted]
    found = store.task("task")
    assert found is not None
    assert found.epoch == 5
    assert store.accept_reset(reset("x", of="nobody")) is None
    assert store.resets("nobody") == []


def test_resets_are_newest_first_and_filtered(store: Store) -> None:
    for name in ("a", "b"):
        store.save_task(task(name))
    store.save_reset(reset("1", "a"))
    store.save_reset(reset("2", "b", asked_ms=None, to_offset=None, outcome="accepted"))
    store.save_reset(reset("3", "a", outcome="refused", from_offset=None, effective_us=None))
    store.save_reset(reset("1", "a", outcome="failed", done_ms=11))
    assert [r.id for r in store.resets()] == ["3", "2", "1"]
    assert [r.id for r in store.resets("a")] == ["3", "1"]
    assert store.resets(outcome="accepted") == [reset("2", "b", asked_ms=None, to_offset=None, outcome="accepted")]
    assert store.resets("a", "failed") == [reset("1", "a", outcome="failed", done_ms=11)]


def test_a_data_source_comes_back_with_its_secrets(store: Store) -> None:
    store.save_data_source(data_source())
    assert store.data_source("source", OURS) == data_source()
    changed = replace(data_source(), secrets={}, content={}, name="renamed", modified_ms=7)
    store.save_data_source(changed)
    assert store.data_source("source") == changed
    store.delete_data_source("source")
    store.delete_data_source("source")
    assert store.data_source("source") is None


def test_saving_a_data_source_keeps_what_capture_recorded(store: Store) -> None:
    store.save_data_source(data_source())
    store.set_published("source", True)
    assert store.renew_history("source") == 1
    assert store.renew_history("source") == 2
    store.save_data_source(data_source())
    found = store.data_source("source")
    assert found is not None
    assert (found.history, found.published) == (2, True)
    store.set_published("nobody", True)
    with pytest.raises(HeadwaterError):
        store.renew_history("nobody")


def test_leftovers_stay_until_they_are_tidied_up(store: Store) -> None:
    store.save_data_source(data_source("here"))
    store.save_data_source(data_source("there"))
    left = Leftover("l1", "here", "gone-task", 5, "refused")
    store.save_leftover(left)
    store.save_leftover(Leftover("l2", "there", "other-task", 6, "refused"))
    store.save_leftover(replace(left, message="still refused"))
    assert store.leftovers("here") == [replace(left, message="still refused")]
    assert [one.id for one in store.leftovers()] == ["l1", "l2"]
    store.delete_leftover("l1")
    store.delete_leftover("l1")
    store.delete_data_source("there")
    assert store.leftovers() == []


def test_access(store: Store) -> None:
    admin, key = user(), AccessKey("AK", "the secret key", "id-admin")
    store.create_user(admin, key)
    assert store.first_user() == store.user("id-admin") == store.user_by_name("domain", "admin") == admin
    assert store.user_by_name("domain", "Admin") is None
    assert store.access_key("AK") == key
    assert store.access_key("ak") is None
    assert store.app_names(OURS) == {"app-admin": "The app"}
    assert store.app_names(THEIRS) == {}


def test_the_first_user_stays_the_first(store: Store) -> None:
    store.create_user(user("zoe"), AccessKey("AK1", "s", "id-zoe"))
    store.create_user(user("adam"), AccessKey("AK2", "s", "id-adam"))
    assert store.first_user() == user("zoe")
    assert set(store.app_names(OURS)) == {"app-zoe", "app-adam"}


def test_a_user_is_made_once(store: Store) -> None:
    store.create_user(user(), AccessKey("AK1", "s", "id-admin"))
    with pytest.raises(HeadwaterError) as refused:
        store.create_user(replace(user(), id="another"), AccessKey("AK2", "s", "another"))
    assert refused.value.kind == "store_exists"
    assert store.access_key("AK2") is None


def test_tokens_expire(store: Store) -> None:
    store.create_user(user(), AccessKey("AK", "s", "id-admin"))
    first, second = Token("digest-1", "id-admin", 100, 200), Token("digest-2", "id-admin", 199, 300)
    store.save_token(first)
    store.save_token(second)
    assert store.token("digest-1") == first
    store.save_token(Token("digest-3", "id-admin", 200, 400))
    assert store.token("digest-1") is None
    assert store.token("digest-2") == second


def test_closing_twice_is_harmless(store: Store) -> None:
    store.close()
    store.close()


def verification(name: str, of: str = "task", **changes: Any) -> Verification:
    keys = (KeyDifference(("7", "ü"), "missing", repaired=True),)
    table = VerifiedTable("m", "public.a", "public.b", "different", 2**40, 9, 1, 2, 3, 1, 4, ("x (a) and y (b)",), "said", keys)
    made = Verification(name, of, "admin", True, False, 2**41, 2**41, None, "running", "", 2**40, 12.5, (table,))
    return replace(made, **changes)


def test_verifications_come_back_as_saved_newest_first(store: Store) -> None:
    store.save_task(task("a"))
    store.save_task(task("b"))
    for one in (verification("1", "a"), verification("2", "b"), verification("3", "a", ended_ms=5, outcome="equal", tables=())):
        store.save_verification(one)
    assert store.verifications("a") == [verification("3", "a", ended_ms=5, outcome="equal", tables=()), verification("1", "a")]
    assert [v.id for v in store.verifications()] == ["3", "2", "1"]
    assert [v.id for v in store.verifications(only_open=True)] == ["2", "1"]
    assert [v.id for v in store.verifications("a", limit=1)] == ["3"]
    store.delete_task("a")
    assert [v.id for v in store.verifications()] == ["2"]
    store.save_verification(verification("late", "a"))
    assert [v.id for v in store.verifications()] == ["2"]


def test_a_verification_that_has_ended_stays_as_it_ended(store: Store) -> None:
    store.save_task(task())
    store.save_verification(verification("1"))
    store.save_verification(verification("1", outcome="cancelled", ended_ms=7))
    store.save_verification(verification("1", message="half \ud800 a \0 word"))
    assert store.verifications("task") == [verification("1", outcome="cancelled", ended_ms=7)]
