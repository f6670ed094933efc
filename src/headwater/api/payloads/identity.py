"""The token API on the wire, as far as password tokens go (the identity service's v3 form)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from headwater.api.payloads.common import Request, Text64, Text256, given
from headwater.services.access import IssuedToken, PasswordForm, iso
from headwater.services.errors import invalid


class DomainRef(Request):
    """A domain by id or name."""

    id: Text64 | None = None
    name: Text256 | None = None


class UserRef(Request):
    """A user with its password: by id, or by name and domain."""

    id: Text64 | None = None
    name: Text256 | None = None
    password: Annotated[str, Field(max_length=4096)]
    domain: DomainRef | None = None


class PasswordMethod(Request):
    """The password method."""

    user: UserRef


class Identity(Request):
    """How the user proves itself."""

    methods: Annotated[list[str], Field(min_length=1, max_length=8)]
    password: PasswordMethod


class ProjectRef(Request):
    """A project by id or name."""

    id: Text64 | None = None
    name: Text256 | None = None


class ScopeRef(Request):
    """What the token is for; a project outweighs a domain."""

    project: ProjectRef | None = None
    domain: DomainRef | None = None


class Auth(Request):
    """The one member of the body."""

    identity: Identity
    scope: ScopeRef | Literal["unscoped"] | None = None


class TokenBody(Request):
    """Body of the token request."""

    auth: Auth

    def form(self) -> PasswordForm:
        """For the service.

        Raises:
            ServiceError: another method than the password is asked for.
        """
        if self.auth.identity.methods != ["password"]:
            raise invalid("auth.identity.methods", 'only ["password"] is supported.')
        user, scope = self.auth.identity.password.user, self.auth.scope
        domain, wanted = user.domain or DomainRef(), scope if isinstance(scope, ScopeRef) else ScopeRef()
        project, scope_domain = wanted.project or ProjectRef(), wanted.domain or DomainRef()
        return PasswordForm(
            password=user.password,
            user_id=given(user.id, ""),
            user_name=given(user.name, ""),
            domain_id=given(domain.id, ""),
            domain_name=given(domain.name, ""),
            project_id=given(project.id, ""),
            project_name=given(project.name, ""),
            scope_domain_id=given(scope_domain.id, ""),
            scope_domain_name=given(scope_domain.name, ""),
        )


def token_members(issued: IssuedToken, base_url: str, catalog: bool) -> dict[str, Any]:
    """The body of the answer; the token itself travels in a header."""
    user = issued.user
    domain = {"id": user.domain_id, "name": user.domain_name}
    token: dict[str, Any] = {
        "methods": ["password"],
        "issued_at": iso(issued.issued_ms),
        "expires_at": iso(issued.expires_ms),
        "user": {"id": user.id, "name": user.name, "domain": domain, "password_expires_at": ""},
        "project": {"id": user.scope.project_id, "name": user.project_name, "domain": domain},
        "roles": [{"id": "0", "name": "admin"}],
    }
    if catalog:
        url = f"{base_url}v2/{user.scope.project_id}"
        endpoint = {"id": "roma", "interface": "public", "region": user.project_name, "region_id": user.project_name, "url": url}
        token["catalog"] = [{"id": "roma", "name": "roma", "type": "roma", "endpoints": [endpoint]}]
    return {"token": token}
