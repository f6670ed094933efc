"""All settings in one place: what each one limits, its unit (last in the name), its default, and why that default.

A setting comes from, strongest first: the command line, the environment (`HEADWATER_PORT`, `HEADWATER_JOURNAL__AGE_S`: two underscores
before a setting of a group), a TOML file (`--config`, else `HEADWATER_CONFIG`, else `headwater.toml` in the data directory), the
default. A name that is not known here, or a value out of bounds, is refused before anything starts. The descriptions below are the
reference: the documentation is made from them.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from headwater.domain.errors import HeadwaterError

GIB = 1 << 30
PREFIX = "HEADWATER_"
FILE_NAME = "headwater.toml"


class SettingsError(HeadwaterError):
    """A setting is missing, unknown or out of bounds. The message names it, where it came from and what it may be."""

    kind = "settings"


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Journal(_Group):
    """How much history is kept per source: the window that a reset can reach."""

    age_s: int = Field(7 * 86_400, ge=60, le=10 * 366 * 86_400)
    """History older than this is dropped, in seconds. A week: an accident on Friday evening is still in reach on Monday."""

    bytes_max: int = Field(10 * GIB, ge=16 << 20)
    """History beyond this size is dropped, oldest first, unless a running task still needs it. 10 GiB: about a billion small
    compressed changes, and a disk that a small server has to spare."""

    bytes_hard: int = Field(20 * GIB, ge=32 << 20)
    """At this size even history that a running task needs is dropped, and that task stops with the reason. Twice `bytes_max`: room for a
    target that is down over a weekend, but never a full disk."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.bytes_hard < self.bytes_max:
            raise ValueError("journal.bytes_hard must not be smaller than journal.bytes_max")
        return self


class Snapshot(_Group):
    """Copies of whole tables: the first one, and those after a reset from the beginning."""

    streams: int = Field(2, ge=1, le=32)
    """Chunks of one task that are copied at the same time; each takes one connection to the source and one to the target. Two keep two
    cores of the target busy; more only helps where both databases have more."""


class Verify(_Group):
    """Verifications: comparing a task's target with its source, at a load with limits. At most two run at the same time, each with one
    statement at a time on either side."""

    after_reset: bool = False
    """Whether each reset is followed by a verification, which begins once the task follows again. Off: it reads both sides as a whole."""

    chunk_rows: int = Field(20_000, ge=100, le=1_000_000)
    """Rows that one statement compares. Twenty thousand take a fraction of a second, and make the cost of a statement small."""

    pause_s: float = Field(0.02, ge=0, le=60)
    """Pause after each chunk, in seconds: more of it spreads the load over a longer time."""

    statement_timeout_s: float = Field(30.0, gt=0, le=3600)
    """A statement that takes longer is ended by the database; the chunk is then cut into smaller ones. Thirty seconds: no transaction of a
    verification holds back the vacuum of either side for longer."""

    settle_s: float = Field(60.0, ge=0, le=3600)
    """How long rows that change each time they are looked at are looked at again, before they count as unsettled."""

    keys_max: int = Field(1000, ge=0, le=1000)
    """Keys of differing rows that are kept per table; further ones are only counted."""


class Log(_Group):
    """Logs of the service and its workers, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important entries that are written."""

    format: Literal["json", "console"] = "json"
    """`json`: one object per line, for log collectors. `console`: for eyes."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    data_dir: Path
    """Directory of the journals, the key file and, by default, the metadata. Readable by its owner only. No default: it holds what must
    not be lost, so a person chooses the place."""

    host: str = Field("127.0.0.1", min_length=1)
    """Address that the API listens on. This machine only, until somebody decides otherwise: requests are signed, but not encrypted."""

    port: int = Field(8080, ge=0, le=65_535)
    """TCP port of the API; 0 takes a free one and says which."""

    database_url: SecretStr | None = None
    """Where the metadata lives: `postgresql://USER:PASSWORD@HOST/DATABASE`. Default: SQLite in the data directory, which needs nothing."""

    encryption_key: SecretStr | None = Field(None, min_length=32)
    """Key that encrypts saved passwords, at least 32 characters. Default: the file `secret.key` that `init` makes in the data directory,
    never in the database, so that neither a copy of the metadata alone nor of the key alone gives anything away."""

    stop_timeout_s: float = Field(7.0, gt=0, le=600)
    """How long running tasks may take to reach a commit when the service stops, in seconds; then they are ended without one (their place is
    kept). Seven leave time for the rest within the ten seconds that service managers grant."""

    stall_after_s: float = Field(30.0, ge=5, le=3600)
    """After how many seconds a task that has something to do and gets nothing done is shown as stalled, with the stage and what is in the
    way. Thirty are longer than a large commit or a chunk takes, and shorter than a person's patience."""

    journal: Journal = Journal()
    """How much history is kept per source."""

    snapshot: Snapshot = Snapshot()
    """Copies of whole tables."""

    verify: Verify = Verify()
    """Verifications."""

    log: Log = Log()
    """Logs."""

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def metadata_url(self) -> str:
        """Where the metadata lives; holds a password where `database_url` does."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'headwater.db'}"

    @property
    def journals_dir(self) -> Path:
        """Directory with one directory per source."""
        return self.data_dir / "journals"


def load(config: Path | None = None, **given: Any) -> Settings:
    """Settings from all places; `given` (None: not given) is the command line and wins.

    Raises:
        SettingsError: listing everything that is wrong, at once, without repeating any value.
    """
    given = {name: value for name, value in given.items() if value is not None}
    path = _file(config, given)
    from_file = _read(path) if path is not None else {}

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, from_file)

    try:
        return Loaded(**given)
    except ValidationError as error:
        raise SettingsError(_explain(error, path)) from None


def _file(config: Path | None, given: dict[str, Any]) -> Path | None:
    """The file to read: the one that is named, which must exist, or the one in the data directory if there is one."""
    named = config or _environment("CONFIG")
    if named is not None:
        if not Path(named).is_file():
            raise SettingsError(f"There is no settings file {named}; name an existing one or leave it out.")
        return Path(named)
    data_dir = given.get("data_dir") or _environment("DATA_DIR")
    usual = Path(data_dir) / FILE_NAME if data_dir else None
    return usual if usual is not None and usual.is_file() else None


def _environment(name: str) -> str | None:
    return os.environ.get(PREFIX + name) or None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} is not TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"The settings file {path} can't be read: {error.strerror}.") from None


def _explain(error: ValidationError, path: Path | None) -> str:
    """One line per problem: the setting by the names one can give it, and what is wrong; never its value."""
    lines = [_problem(".".join(map(str, found["loc"])), found["type"], found["msg"]) for found in error.errors(include_input=False)]
    origin = f" (the settings file is {path})" if path is not None else ""
    return "\n".join([f"The settings can't be used{origin}:", *lines])


def _problem(name: str, kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return f"  {name}: there is no such setting; known are {', '.join(names())}."
    if kind == "missing":
        return f"  {name}: must be given, as --{name.replace('_', '-')} or {variable(name)}."
    what = message.removeprefix("Value error, ")
    return f"  {name} (or {variable(name)}): {what[:1].lower()}{what[1:]}." if name else f"  {what}."


def variable(name: str) -> str:
    """The environment variable of a setting, e.g. `journal.age_s` -> `HEADWATER_JOURNAL__AGE_S`."""
    return PREFIX + name.replace(".", "__").upper()


def names(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Names of all settings, those of groups with the group and a dot in front."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            found += names(group, f"{name}.")
        else:
            found.append(prefix + name)
    return found
