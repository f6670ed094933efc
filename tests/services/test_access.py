"""Access: tokens, passwords, locks, and that none of it tells whether a user or key exists. Over the real store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headwater.ports.store import AccessKey, Scope, User
from headwater.services.access import (
    DECOY,
    FAILURES_MAX,
    LOCK_S,
    LOCKS_REMEMBERED_MAX,
    TOKEN_LIFE_MS,
    Access,
    Lockout,
    PasswordForm,
    Passwords,
    digest,
)
from headwater.services.errors import ServiceError
from headwater.services.setup import FirstAccess, initialise
from headwater.services.signing import Message, sign
from headwater.store.migrate import migrate
from headwater.store.sql import SqlStore

START_MS = 1_767_323_045_000


@dataclass
class World:
    store: SqlStore
    first: FirstAccess
    access: Access
    now_ms: int = START_MS
    monotonic_s: float = 1000.0

    def signed(self, secret: str | None = None, access_key: str | None = None, **changes: object) -> Message:
        message = Message("GET", b"/v2/x", b"", [("Host", "h")])
        now = datetime.fromtimestamp(self.now_ms / 1000, UTC)
        headers = sign(message, access_key or str(self.first.access_key), secret or str(self.first.secret_key), now)
        return replace(message, headers=headers, **changes)  # type: ignore[arg-type]

    def form(self, **changes: str) -> PasswordForm:
        form = PasswordForm(str(self.first.password), user_name=self.first.user_name, domain_name=self.first.domain_name)
        return replace(form, **changes)

    def token(self, text: str) -> Message:
        return Message("GET", b"/", b"", [("X-Auth-Token", text)])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FirstAccess]:
    """A store after `init`, made once; each test works on a copy."""
    path = tmp_path_factory.mktemp("access") / "meta.db"
    migrate(f"sqlite:///{path}")
    store = SqlStore(f"sqlite:///{path}", b"k" * 32)
    first = initialise(store)
    store.close()
    return path, first


@pytest.fixture
def world(tmp_path: Path, template: tuple[Path, FirstAccess]) -> Iterator[World]:
    path, first = template
    shutil.copy(path, tmp_path / "meta.db")
    store = SqlStore(f"sqlite:///{tmp_path}/meta.db", b"k" * 32)
    made = World(store, first, Access(store, lambda: START_MS))
    made.access = Access(store, lambda: made.now_ms, lambda: made.monotonic_s)
    yield made
    store.close()


def refusal(world: World, message: Message, address: str = "1.2.3.4") -> str:
    with pytest.raises(ServiceError) as caught:
        world.access.authenticate(message, address)
    assert (caught.value.status, caught.value.code) == (401, "APIG.0301")
    text = caught.value.message
    assert text.startswith("Incorrect IAM authentication information: ")
    return text.partition(": ")[2]


def test_a_signature_proves_its_user(world: World) -> None:
    caller = world.access.authenticate(world.signed(), "1.2.3.4")
    assert (caller.name, caller.scope) == ("admin", Scope(world.first.project_id, world.first.instance_id))


def test_nothing_proves_nothing(world: World) -> None:
    assert refusal(world, Message("GET", b"/", b"", [])) == "x-auth-token not found"
    assert refusal(world, Message("GET", b"/", b"", [("Authorization", "Basic abc")])) == "x-auth-token not found"


def test_an_unknown_key_gets_the_answer_of_a_wrong_one(world: World) -> None:
    assert refusal(world, world.signed(access_key="NOBODY")) == refusal(world, world.signed(secret="wrong"))


def test_a_token_lives_24_hours(world: World) -> None:
    issued = world.access.issue(world.form())
    assert issued.expires_ms - issued.issued_ms == TOKEN_LIFE_MS == 86_400_000
    world.now_ms += TOKEN_LIFE_MS - 1
    assert world.access.authenticate(world.token(issued.text), "a").name == "admin"
    world.now_ms += 1
    assert refusal(world, world.token(issued.text)) == "token expires, expires_at: 2026-01-03T03:04:05.000000Z"


def test_only_the_hash_of_a_token_is_stored(world: World, tmp_path: Path) -> None:
    issued = world.access.issue(world.form())
    assert world.store.token(digest(issued.text)) is not None
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert digest(issued.text).encode() in stored
    assert issued.text.encode() not in stored
    assert issued.text not in repr(issued)


@pytest.mark.parametrize("text", ["", "x", "x" * 40_000, "\udcff", "a\x00b"])
def test_an_unknown_token_is_refused(world: World, text: str) -> None:
    assert refusal(world, world.token(text)) == "decrypt token fail"


def test_a_new_token_does_not_end_the_old_one(world: World) -> None:
    old, new = world.access.issue(world.form()), world.access.issue(world.form())
    assert old.text != new.text
    for issued in (old, new):
        world.access.authenticate(world.token(issued.text), "a")


def test_one_good_proof_is_enough_where_two_are_sent(world: World) -> None:
    issued = world.access.issue(world.form())
    stale = ("X-Auth-Token", "stale")
    message = world.signed()
    world.access.authenticate(replace(message, headers=[*message.headers, stale]), "a")
    bad = world.signed(secret="wrong")
    world.access.authenticate(replace(bad, headers=[*bad.headers, ("X-Auth-Token", issued.text)]), "a")
    assert refusal(world, replace(bad, headers=[*bad.headers, stale])) == "verify aksk signature fail"


@pytest.mark.parametrize(
    "changes",
    [
        {"password": "wrong"},
        {"password": ""},
        {"password": "x" * 5000},
        {"password": "\udcff"},
        {"user_name": "nobody"},
        {"user_name": "a\x00"},
        {"user_id": "x"},
        {"domain_name": "nowhere"},
        {"domain_name": ""},
        {"domain_id": "x"},
    ],
)
def test_all_wrong_passwords_and_unknown_users_look_the_same(world: World, changes: dict[str, str]) -> None:
    with pytest.raises(ServiceError) as caught:
        world.access.issue(world.form(**changes))
    assert caught.value.status == 401
    assert caught.value.message == "Incorrect IAM authentication information: the user name or password is wrong"


def test_an_unknown_user_costs_a_password_check_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str | None] = []
    right = Passwords.right

    def spy(self: Passwords, password: str, stored: str | None) -> bool:
        checked.append(stored)
        return right(self, password, stored)

    monkeypatch.setattr(Passwords, "right", spy)
    with pytest.raises(ServiceError):
        world.access.issue(world.form(user_name="nobody"))
    assert checked == [None]


def test_a_decoy_is_as_costly_as_a_stored_password() -> None:
    passwords = Passwords()
    stored = passwords.hash("p")
    assert stored.rsplit("$", 2)[0] == DECOY.rsplit("$", 2)[0]


@pytest.mark.parametrize("by", ["name", "id", "domain id"])
def test_a_user_is_named_by_name_or_id(world: World, by: str) -> None:
    user = world.store.first_user()
    assert user is not None
    changes = {
        "name": {},
        "id": {"user_id": user.id, "user_name": "", "domain_name": ""},
        "domain id": {"domain_name": "", "domain_id": user.domain_id},
    }[by]
    assert world.access.issue(world.form(**changes)).user == user


@pytest.mark.parametrize("changes", [{}, {"project_id": "own"}, {"project_name": "own"}, {"scope_domain_name": "own"}])
def test_a_token_is_for_the_own_project(world: World, changes: dict[str, str]) -> None:
    user = world.store.first_user()
    assert user is not None
    own = {"project_id": user.scope.project_id, "project_name": user.project_name, "scope_domain_name": user.domain_name}
    world.access.issue(world.form(**{name: own[name] for name in changes}))


@pytest.mark.parametrize("changes", [{"project_id": "0" * 32}, {"project_name": "other"}, {"scope_domain_id": "x"}])
def test_a_token_for_another_project_is_refused(world: World, changes: dict[str, str]) -> None:
    with pytest.raises(ServiceError) as caught:
        world.access.issue(world.form(**changes))
    assert (caught.value.status, caught.value.message.partition(": ")[2]) == (401, "the user has no such project or domain")


def test_a_second_user_is_itself(world: World) -> None:
    scope = Scope("f" * 32, "22222222-2222-2222-2222-222222222222")
    second = User("u2", "d2", "other", "bob", Passwords().hash("pw"), scope, "a2", "app", "default")
    world.store.create_user(second, AccessKey("AK2", "SK2", "u2"))
    assert world.access.authenticate(world.signed("SK2", "AK2"), "a").scope == scope
    issued = world.access.issue(PasswordForm("pw", user_name="bob", domain_name="other"))
    assert world.access.authenticate(world.token(issued.text), "a").user_id == "u2"


def fail(world: World, times: int, address: str = "1.2.3.4") -> None:
    for _ in range(times):
        refusal(world, world.signed(secret="wrong"), address)


def test_five_failures_in_a_row_do_not_lock(world: World) -> None:
    fail(world, FAILURES_MAX)
    world.access.authenticate(world.signed(), "1.2.3.4")


def test_more_than_five_lock_for_five_minutes(world: World) -> None:
    fail(world, FAILURES_MAX + 1)
    assert "locked for 5 minutes" in refusal(world, world.signed())
    world.monotonic_s += LOCK_S - 0.1
    assert "locked" in refusal(world, world.signed())
    world.monotonic_s += 0.1
    world.access.authenticate(world.signed(), "1.2.3.4")
    fail(world, FAILURES_MAX)
    world.access.authenticate(world.signed(), "1.2.3.4")


def test_a_success_breaks_the_row(world: World) -> None:
    fail(world, FAILURES_MAX)
    world.access.authenticate(world.signed(), "1.2.3.4")
    fail(world, FAILURES_MAX)
    world.access.authenticate(world.signed(), "1.2.3.4")


def test_nobody_can_lock_a_key_for_somebody_elses_address(world: World) -> None:
    fail(world, FAILURES_MAX + 1, "6.6.6.6")
    world.access.authenticate(world.signed(), "1.2.3.4")


def test_a_wrong_clock_does_not_lock(world: World) -> None:
    early = world.signed()
    world.now_ms += 3_600_000
    for _ in range(FAILURES_MAX + 1):
        assert "15 minutes" in refusal(world, early)
    world.access.authenticate(world.signed(), "1.2.3.4")


def test_the_memory_of_failures_is_bounded() -> None:
    lockout = Lockout(lambda: 0.0)
    for number in range(LOCKS_REMEMBERED_MAX + 10):
        lockout.failed((str(number), "a"))
    assert len(lockout._failures) == LOCKS_REMEMBERED_MAX
    assert ("0", "a") not in lockout._failures
