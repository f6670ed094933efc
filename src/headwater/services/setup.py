"""The first project, instance, application, administrator and access key: what `headwater init` makes, once."""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater.ports.store import Store


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
    password: str | None = field(repr=False)
    access_key: str | None
    secret_key: str | None = field(repr=False)


def initialise(store: Store, domain_name: str = "headwater", user_name: str = "admin", project_name: str = "default") -> FirstAccess:
    """Make the first access where there is none; otherwise change nothing and return what can be shown."""
    raise NotImplementedError
