"""Who calls: from a signed request or a token to a `Caller`, and from a password to a token.

A caller proves itself by either of two things, each enough alone: a signature made with its secret key, or a token that was issued to
it. Every refusal is the gateway's 401 with the reasons that its clients know; none tells whether a user or key exists. After the
proof the only question is *whose* it is: each user has one project and one instance, and reaches nothing else.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from headwater.ports.store import AccessStore, Scope, Token, User
from headwater.services import signing
from headwater.services.errors import ServiceError

UNAUTHORIZED = "APIG.0301"
TOKEN_LIFE_MS = 24 * 3_600_000
TOKEN_BYTES = 48
TOKEN_CHARS_MAX = 32_768
"""The gateway's own limit of a header; a longer token is not worth a look."""

PASSWORD_CHARS_MAX = 1_024
FAILURES_MAX = 5
"""More signature failures in a row than this lock the key for `LOCK_S`, for the address that made them."""

LOCK_S = 300.0
LOCKS_REMEMBERED_MAX = 10_000
"""Failing (key, address) pairs kept in mind; beyond that the oldest is forgotten, so that memory stays bounded."""

PASSWORD_CHECKS_AT_ONCE = 2
"""argon2 takes a core and tens of megabytes on purpose; more at once would let strangers exhaust the machine."""

PASSWORD_CHECKS_WAITING_MAX = 8

DECOY = "$argon2id$v=19$m=65536,t=3,p=4$izrqvRmPLxkht0kFlnffcA$k/j29cZzXPRyMlG+RrObtGsfzmdpNvJa+881P0+QeqU"
"""The hash of a password that nobody knows, made like those of real users: an unknown user costs as much as a wrong password."""


def unauthorized(reason: str) -> ServiceError:
    """The gateway's 401."""
    return ServiceError(UNAUTHORIZED, 401, f"Incorrect IAM authentication information: {reason}")


@dataclass(frozen=True)
class Caller:
    """An authenticated user with all that it may reach. `name` is what records call it."""

    user_id: str
    name: str
    scope: Scope
    project_name: str
    app_id: str
    app_name: str

    @classmethod
    def of(cls, user: User) -> Caller:
        """The caller that a user becomes once it has proved itself."""
        return cls(user.id, user.name, user.scope, user.project_name, user.app_id, user.app_name)


@dataclass(frozen=True)
class PasswordForm:
    """What a caller sends for a token: a user by id, or by name and domain; optionally the project or domain that it wants.

    Empty texts mean *not given*."""

    password: str = field(repr=False)
    user_id: str = ""
    user_name: str = ""
    domain_id: str = ""
    domain_name: str = ""
    project_id: str = ""
    project_name: str = ""
    scope_domain_id: str = ""
    scope_domain_name: str = ""


@dataclass(frozen=True)
class IssuedToken:
    """A token as it is told once, to its user. Times in ms since 1970, UTC."""

    text: str = field(repr=False)
    user: User = field(repr=False)
    issued_ms: int
    expires_ms: int


class Lockout:
    """Counts failures in a row by (key, address) and locks for a while; memory is bounded. Safe from any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def locked(self, who: tuple[str, str]) -> bool:
        """True while `who` is locked; a lock that has run out is forgotten together with its failures."""
        with self._guard:
            count, since = self._failures.get(who, (0, 0.0))
            if count <= FAILURES_MAX:
                return False
            if self._monotonic() - since < LOCK_S:
                return True
            del self._failures[who]
            return False

    def failed(self, who: tuple[str, str]) -> None:
        """One more failure in a row."""
        with self._guard:
            count, _ = self._failures.pop(who, (0, 0.0))
            self._failures[who] = (count + 1, self._monotonic())
            while len(self._failures) > LOCKS_REMEMBERED_MAX:
                self._failures.popitem(last=False)

    def succeeded(self, who: tuple[str, str]) -> None:
        """The row of failures is broken."""
        with self._guard:
            self._failures.pop(who, None)


class Passwords:
    """Checks passwords against argon2 hashes, few at a time, and as slowly where there is no hash to check against."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._running = threading.Semaphore(PASSWORD_CHECKS_AT_ONCE)
        self._waiting = threading.Semaphore(PASSWORD_CHECKS_AT_ONCE + PASSWORD_CHECKS_WAITING_MAX)

    def hash(self, password: str) -> str:
        """The hash to store."""
        return self._hasher.hash(password)

    def right(self, password: str, stored: str | None) -> bool:
        """True where `password` is the one of `stored`; None (no such user) costs the same time and is False.

        Raises:
            ServiceError: 503 where too many checks wait already.
        """
        if not self._waiting.acquire(blocking=False):
            raise ServiceError("APIG.0201", 503, "Too many password checks at once. Try again in a few seconds.")
        try:
            with self._running:
                return self._matches(password, stored)
        finally:
            self._waiting.release()

    def _matches(self, password: str, stored: str | None) -> bool:
        try:
            self._hasher.verify(stored or DECOY, password.encode(errors="surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None


class Access:
    """Authentication and tokens. All raise ServiceError with 401 and `APIG.0301` where the proof does not hold."""

    def __init__(self, store: AccessStore, now_ms: Callable[[], int], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now_ms = now_ms
        self._lockout = Lockout(monotonic)
        self._passwords = Passwords()
        self._decoy_secret = secrets.token_hex(20)

    def authenticate(self, message: signing.Message, address: str) -> Caller:
        """The caller of a request that came from `address`. A token is looked at first; then a signature.

        A client of the official SDK may send both, with either one a placeholder: one good proof is enough.
        """
        token, authorization = message.header("x-auth-token"), message.header("authorization")
        signed = authorization is not None and authorization.startswith(signing.ALGORITHM)
        if token is not None:
            try:
                return self._by_token(token)
            except ServiceError:
                if not signed:
                    raise
        if authorization is None or not signed:
            raise unauthorized("x-auth-token not found")
        return self._by_signature(message, authorization, address)

    def _by_token(self, text: str) -> Caller:
        token = self._store.token(digest(text)) if 0 < len(text) <= TOKEN_CHARS_MAX else None
        user = self._store.user(token.user_id) if token else None
        if token is None or user is None:
            raise unauthorized("decrypt token fail")
        if token.expires_ms <= self._now_ms():
            raise unauthorized(f"token expires, expires_at: {iso(token.expires_ms)}")
        return Caller.of(user)

    def _by_signature(self, message: signing.Message, authorization: str, address: str) -> Caller:
        try:
            claim = signing.Claim.parse(authorization)
        except signing.SignatureError as error:
            raise unauthorized(str(error)) from error
        who = (claim.access_key, address)
        if self._lockout.locked(who):
            raise unauthorized(f"verify aksk signature fail, more than {FAILURES_MAX} times in a row; the key is locked for 5 minutes")
        key = self._store.access_key(claim.access_key)
        user = self._store.user(key.user_id) if key else None
        try:
            signing.verify(message, claim, key.secret_key if key else self._decoy_secret, self._now())
            if user is None:
                raise signing.SignatureError("verify aksk signature fail", guess=True)
        except signing.SignatureError as error:
            if error.guess:
                self._lockout.failed(who)
            raise unauthorized(str(error)) from error
        self._lockout.succeeded(who)
        return Caller.of(user)

    def issue(self, form: PasswordForm) -> IssuedToken:
        """A new token for the user that the password proves; earlier ones stay good until they expire.

        A wrong password and an unknown user get the same answer after about the same time."""
        user = self._named(form)
        if len(form.password) > PASSWORD_CHARS_MAX or not self._passwords.right(form.password, user.password_hash if user else None):
            user = None
        if user is None:
            raise unauthorized("the user name or password is wrong")
        if not _may_have(user, form):
            raise unauthorized("the user has no such project or domain")
        text, now = secrets.token_urlsafe(TOKEN_BYTES), self._now_ms()
        self._store.save_token(Token(digest(text), user.id, now, now + TOKEN_LIFE_MS))
        return IssuedToken(text, user, now, now + TOKEN_LIFE_MS)

    def _named(self, form: PasswordForm) -> User | None:
        if form.user_id:
            return self._store.user(form.user_id)
        domain = form.domain_name
        if form.domain_id and not domain:
            first = self._store.first_user()
            domain = first.domain_name if first and first.domain_id == form.domain_id else ""
        user = self._store.user_by_name(domain, form.user_name) if domain else None
        return user if user and form.domain_id in ("", user.domain_id) else None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)


def digest(token: str) -> str:
    """What is stored of a token. It is random and long, so a plain hash can't be turned back."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def iso(ms: int) -> str:
    """A moment as the token API writes it, e.g. `2015-11-09T01:42:57.527000Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _may_have(user: User, form: PasswordForm) -> bool:
    """True where the wanted scope is the user's own; no wish is its one project. A project outweighs a domain."""
    if form.project_id or form.project_name:
        return form.project_id in ("", user.scope.project_id) and form.project_name in ("", user.project_name)
    return form.scope_domain_id in ("", user.domain_id) and form.scope_domain_name in ("", user.domain_name)
