"""Where the command line finds the service and its credentials: the environment, then a profile file.

A profile is TOML with `endpoint`, `access_key`, `secret_key`, `project_id` and `instance_id`; the JSON object of `headwater init --json`
does as well, so that its output can be kept and used as it is. A variable `HEADWATER_<NAME>` outweighs the file.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDPOINT_DEFAULT = "http://127.0.0.1:8080"
NAMES = ("endpoint", "access_key", "secret_key", "project_id", "instance_id")


class ProfileError(Exception):
    """Something is missing or can't be read; `str(error)` says what, and where to put it."""


@dataclass(frozen=True)
class Profile:
    """How to reach one service as one user."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    project_id: str
    instance_id: str


def default_path(environment: Mapping[str, str]) -> Path:
    """`profile.toml` in the user's configuration directory."""
    base = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "headwater" / "profile.toml"


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Profile:
    """Read the profile at `path`, else at `HEADWATER_PROFILE`, else at the default place if it is there.

    Raises:
        ProfileError: the file can't be read, or a value is given nowhere.
    """
    named = path or (Path(environment["HEADWATER_PROFILE"]) if environment.get("HEADWATER_PROFILE") else None)
    file = named or default_path(environment)
    saved = _read(file) if named or file.exists() else {}
    values = {name: environment.get(f"HEADWATER_{name.upper()}") or saved.get(name) for name in NAMES}
    values["endpoint"] = values["endpoint"] or ENDPOINT_DEFAULT
    missing = [name for name in NAMES if not values[name]]
    if missing:
        variables = ", ".join(f"HEADWATER_{name.upper()}" for name in missing)
        raise ProfileError(f"Not known: {', '.join(missing)}. Set {variables}, or write them into {file} (`headwater init` shows them).")
    return Profile(**{name: str(value) for name, value in values.items()})


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except OSError as error:
        raise ProfileError(f"The profile {file} can't be read: {error.strerror}.") from error
    except ValueError as error:  # both formats' errors are; their texts may quote a secret
        raise ProfileError(f"The profile {file} is neither TOML nor JSON in UTF-8.") from error
    return dict(found)
