"""The API's `Content`: which of its fields are secret, and what a usable one looks like.

Secrets are split off and kept as texts; nothing that may hold a credential is ever given back, so free-form fields and
connection strings count as secrets too. Fields that we don't know are kept as they came.
"""

from __future__ import annotations

import json
import re
from typing import Any

from headwater.services import checks
from headwater.services.errors import invalid

SECRET_FIELDS = frozenset(
    {
        "api_auth_detail",
        "config_file_content",
        "connector_params",
        "key_store",
        "key_store_key_password",
        "key_store_password",
        "password",
        "sk",
        "snmp_community",
        "ssl_password",
        "trust_store_password",
        "url",
    }
)
CONTENT_CHARS_MAX = 1_000_000
SCHEMA_CHARS_MAX = 64
"""The longest name of a schema or a table, that of MySQL's; PostgreSQL's have one less."""

NAME_CHARS_MAX = {"POSTGRESQL": 63}
USER_CHARS_MAX = 80
"""The longest names of databases and users: PostgreSQL's are identifiers, MySQL's databases too; MariaDB's users are longer."""

PASSWORD_CHARS_MAX = 1024
_HOST = re.compile(r"[A-Za-z0-9_.:%\[\]-]{1,255}")
_NAMED = re.compile(r"(?i)passw|secret|token|credential")


def split(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The content without its secrets, and the secrets (texts; anything else as JSON). Empty secrets are left out of both."""
    shown: dict[str, Any] = {}
    secret: dict[str, str] = {}
    for name, value in content.items():
        if value is None:
            continue
        if name not in SECRET_FIELDS and not _NAMED.search(name):
            shown[name] = value
        elif value != "":
            secret[name] = value if isinstance(value, str) else json.dumps(value)
    return shown, secret


def relational(content: dict[str, Any], kind: str = "POSTGRESQL") -> dict[str, Any]:
    """A content that leads to a relational database: host, port, database and user are there and well-formed.

    Numbers come as texts or as numbers; they are kept as texts. Raises FDI.3033 naming the field."""
    if content.get("mode") not in (None, "", "default"):
        raise invalid("mode", "only the default mode (host, port, database_name) is supported here.")
    _size(content)
    host = _needed(content, "host")
    if not _HOST.fullmatch(host):
        raise invalid("host", "write one host name or IP address of at most 255 characters.")
    checked = dict(content, host=host, port=_port(content))
    for name, longest in (("database_name", SCHEMA_CHARS_MAX), ("user_name", USER_CHARS_MAX)):
        checked[name] = checks.text(name, _needed(content, name), shortest=1, longest=NAME_CHARS_MAX.get(kind, longest))
    if content.get("server_id") not in (None, ""):
        checked["server_id"] = server_id(content["server_id"])
    password = content.get("password")
    if password is not None and not isinstance(password, str):
        raise invalid("password", "it must be a text.")
    checks.text("password", password or "", longest=PASSWORD_CHARS_MAX)
    if not isinstance(content.get("ssl_enable", False), bool | None):
        raise invalid("ssl_enable", "it must be true or false.")
    return checked


def server_id(value: Any) -> int:
    """The id with which a replica of MariaDB or MySQL registers. Raises FDI.3033."""
    written = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9]{1,10}", written) or not 1 <= int(written) < 1 << 32:
        raise invalid("server_id", "write a whole number from 1 to 4294967295 that no server of the database has.")
    return int(written)


def _size(content: dict[str, Any]) -> None:
    written = json.dumps(content, ensure_ascii=False)
    checks.text("content", written.replace("\\u0000", "\0"), longest=CONTENT_CHARS_MAX)


def _needed(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not value.strip():
        raise invalid(name, "it is needed to reach the database.")
    return value.strip()


def _port(content: dict[str, Any]) -> str:
    value = content.get("port")
    written = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9]{1,5}", written) or not 1 <= int(written) <= 65535:
        raise invalid("port", "write a number from 1 to 65535.")
    return str(int(written))
