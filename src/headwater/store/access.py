"""Users, access keys and tokens in SQL. Secret keys are sealed, tokens are there as their SHA-256 only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping, Select, delete, insert, select

from headwater.ports.store import AccessKey, Scope, Token, User
from headwater.store.base import SqlPart, storable
from headwater.store.schema import access_keys, applications, instances, projects, tokens, users

_USERS = (
    select(users, applications.c.name.label("app_name"), projects.c.name.label("project_name"))
    .join(applications, applications.c.id == users.c.app_id)
    .join(projects, projects.c.id == users.c.project_id)
)


def _place(access_key: str) -> str:
    return f"access_keys.secret_key.{access_key}"


def _user(row: RowMapping) -> User:
    values = {name: row[name] for name in User.__dataclass_fields__ if name != "scope"}
    return User(scope=Scope(row["project_id"], row["instance_id"]), **values)


class SqlAccess(SqlPart):
    """`AccessStore` on SQL."""

    def access_key(self, access_key: str) -> AccessKey | None:
        """See the port."""
        if not storable(access_key):
            return None
        row = self._one(select(access_keys).where(access_keys.c.access_key == access_key))
        if row is None:
            return None
        return AccessKey(access_key, self._box.open(row["secret_key"], _place(access_key)).decode(), row["user_id"])

    def user(self, user_id: str) -> User | None:
        """See the port."""
        return self._user_where(_USERS.where(users.c.id == user_id)) if storable(user_id) else None

    def user_by_name(self, domain_name: str, name: str) -> User | None:
        """See the port."""
        if not storable(domain_name) or not storable(name):
            return None
        return self._user_where(_USERS.where(users.c.domain_name == domain_name, users.c.name == name))

    def first_user(self) -> User | None:
        """See the port."""
        return self._user_where(_USERS.order_by(users.c.seq).limit(1))

    def create_user(self, user: User, key: AccessKey) -> None:
        """See the port."""
        scope = user.scope
        row = {name: value for name, value in asdict(user).items() if name not in {"scope", "app_name", "project_name"}}
        sealed = self._box.seal(key.secret_key.encode(), _place(key.access_key))
        with self._transaction() as connection:
            self._put(connection, projects, {"id": scope.project_id, "name": user.project_name})
            self._put(connection, instances, {"id": scope.instance_id, "project_id": scope.project_id})
            self._put(connection, applications, {"id": user.app_id, "instance_id": scope.instance_id, "name": user.app_name})
            connection.execute(insert(users).values(**row, project_id=scope.project_id, instance_id=scope.instance_id))
            connection.execute(insert(access_keys).values(access_key=key.access_key, user_id=key.user_id, secret_key=sealed))

    def check_key(self) -> None:
        """Return where the secret key at hand is the one that this metadata was encrypted with, or nothing is encrypted yet.

        Raises:
            StoreError: `store_key`, before anybody's request could fail for it.
        """
        row = self._one(select(access_keys).limit(1))
        if row is not None:
            self._box.open(row["secret_key"], _place(row["access_key"]))

    def app_names(self, scope: Scope) -> dict[str, str]:
        """See the port."""
        query = select(applications).join(instances, instances.c.id == applications.c.instance_id)
        rows = self._all(query.where(instances.c.id == scope.instance_id, instances.c.project_id == scope.project_id))
        return {row["id"]: row["name"] for row in rows}

    def save_token(self, token: Token) -> None:
        """See the port."""
        with self._transaction() as connection:
            connection.execute(delete(tokens).where(tokens.c.expires_ms <= token.issued_ms))
            connection.execute(insert(tokens).values(**asdict(token)))

    def token(self, digest: str) -> Token | None:
        """See the port."""
        if not storable(digest):
            return None
        row = self._one(select(tokens).where(tokens.c.digest == digest))
        return None if row is None else Token(**row)

    def _user_where(self, query: Select[Any]) -> User | None:
        row = self._one(query)
        return None if row is None else _user(row)
