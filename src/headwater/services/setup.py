"""The first project, instance, application, administrator and access key: what `headwater init` makes, once."""

from __future__ import annotations

import secrets
import string
import uuid
from dataclasses import dataclass, field

from argon2 import PasswordHasher

from headwater.domain.errors import HeadwaterError
from headwater.ports.store import AccessKey, AccessStore, Scope, User

ACCESS_KEY_CHARS = 20
SECRET_KEY_CHARS = 40
PASSWORD_CHARS = 24


@dataclass(frozen=True)
class FirstAccess:
    """What `init` made, or found. Secrets are there only the first time (`created`); afterwards they are None.

    `project_id` is 32 hex digits, `instance_id` a UUID."""

    created: bool
    project_id: str
    instance_id: str
    app_id: str
    domain_name: str
    user_name: str
    password: str | None = field(default=None, repr=False)
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)


def initialise(store: AccessStore, domain_name: str = "headwater", user_name: str = "admin", project_name: str = "default") -> FirstAccess:
    """Make the first access where there is none; otherwise change nothing and return what can be shown. Safe to call twice at once."""
    found = store.first_user()
    if found is not None:
        return _shown(found)
    password = _random(string.ascii_letters + string.digits, PASSWORD_CHARS)
    user = _administrator(domain_name, user_name, project_name, PasswordHasher().hash(password))
    key = AccessKey(
        access_key=_random(string.ascii_uppercase + string.digits, ACCESS_KEY_CHARS),
        secret_key=_random(string.ascii_letters + string.digits, SECRET_KEY_CHARS),
        user_id=user.id,
    )
    try:
        store.create_user(user, key)
    except HeadwaterError as error:
        raced = store.first_user()
        if error.kind != "store_exists" or raced is None:
            raise
        return _shown(raced)
    return FirstAccess(
        created=True,
        project_id=user.scope.project_id,
        instance_id=user.scope.instance_id,
        app_id=user.app_id,
        domain_name=user.domain_name,
        user_name=user.name,
        password=password,
        access_key=key.access_key,
        secret_key=key.secret_key,
    )


def _shown(user: User) -> FirstAccess:
    return FirstAccess(False, user.scope.project_id, user.scope.instance_id, user.app_id, user.domain_name, user.name)


def _administrator(domain_name: str, user_name: str, project_name: str, password_hash: str) -> User:
    return User(
        id=uuid.uuid4().hex,
        domain_id=uuid.uuid4().hex,
        domain_name=domain_name,
        name=user_name,
        password_hash=password_hash,
        scope=Scope(uuid.uuid4().hex, str(uuid.uuid4())),
        app_id=str(uuid.uuid4()),
        app_name="headwater",
        project_name=project_name,
    )


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
