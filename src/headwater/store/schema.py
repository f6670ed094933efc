"""The metadata's tables, once, for SQLite and PostgreSQL. Migrations are proven equal to this by a test.

`seq` columns number rows in the order in which they came; ids are made by the callers. Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _seq() -> Column[int]:
    return Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _id() -> Column[str]:
    return Column("id", Text, nullable=False, unique=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _ms(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _of_task() -> Column[str]:
    return Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False)


projects = Table("projects", metadata, Column("id", Text, primary_key=True), _text("name"))

instances = Table(
    "instances",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
)

applications = Table(
    "applications",
    metadata,
    Column("id", Text, primary_key=True),
    Column("instance_id", Text, ForeignKey("instances.id"), nullable=False),
    _text("name"),
)

users = Table(
    "users",
    metadata,
    _seq(),
    _id(),
    _text("domain_id"),
    _text("domain_name"),
    _text("name"),
    _text("password_hash"),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("instance_id", Text, ForeignKey("instances.id"), nullable=False),
    Column("app_id", Text, ForeignKey("applications.id"), nullable=False),
    UniqueConstraint("domain_name", "name"),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("access_key", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("secret_key", LargeBinary, nullable=False),  # sealed
)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", Text, primary_key=True),  # SHA-256 of the token's text
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    _ms("issued_ms"),
    Column("expires_ms", BigInteger, nullable=False, index=True),
)

data_sources = Table(
    "data_sources",
    metadata,
    _seq(),
    _id(),
    _text("project_id"),
    _text("instance_id"),
    _text("app_id"),
    _text("name"),
    _text("type"),
    _text("description"),
    Column("content", JSON, nullable=False),
    Column("secrets", LargeBinary, nullable=False),  # sealed
    _ms("created_ms"),
    _ms("modified_ms"),
    Column("history", Integer, nullable=False),
    Column("published", Boolean, nullable=False),
)

leftovers = Table(
    "leftovers",
    metadata,
    _seq(),
    _id(),
    Column("data_source_id", Text, ForeignKey("data_sources.id", ondelete="CASCADE"), nullable=False, index=True),
    _text("task_id"),
    _ms("since_ms"),
    _text("message"),
)

tasks = Table(
    "tasks",
    metadata,
    _seq(),
    _id(),
    _text("project_id"),
    _text("instance_id"),
    _text("name"),
    _text("task_type"),
    _text("description"),
    _text("tag"),
    _text("operations"),  # sorted, with commas between
    Column("source_id", Text, ForeignKey("data_sources.id", ondelete="SET NULL")),
    Column("target_id", Text, ForeignKey("data_sources.id", ondelete="SET NULL")),
    _text("source_app_id"),
    _text("target_app_id"),
    Column("saved", Boolean, nullable=False),
    Column("wished", Boolean, nullable=False),
    _text("state"),
    _text("error_kind"),
    _text("message"),
    Column("epoch", BigInteger, nullable=False),
    Column("started_once", Boolean, nullable=False),
    _ms("created_ms"),
    _ms("modified_ms"),
    Column("ext_info", JSON, nullable=False),
    Column("dirty_rows_max", Integer),  # null: stop at the first refused row
    Column("dirty_per_minute_max", Integer),
    Column("notes", JSON),  # null: none
)

mappings = Table(
    "mappings",
    metadata,
    _seq(),
    _id(),
    _of_task(),
    _text("source_table"),
    _text("target_table"),
    Column("columns", JSON, nullable=False),
    Column("source_columns", JSON, nullable=False),
    Column("target_columns", JSON, nullable=False),
    Column("pairs", JSON, nullable=False),
    _text("status"),
    Column("percent", Integer, nullable=False),
    _ms("updated_ms"),
    Column("revision", Integer, nullable=False),
    Index(None, "task_id"),
)

runs = Table(
    "runs",
    metadata,
    _seq(),
    _id(),
    _of_task(),
    Column("epoch", BigInteger, nullable=False),
    _ms("started_ms"),
    _ms("ended_ms", nullable=True),
    _text("outcome"),
    _text("message"),
    Column("counters", JSON, nullable=False),
    Column("notes", JSON),  # null: none
    Index(None, "task_id", "seq"),
)

resets = Table(
    "resets",
    metadata,
    _seq(),
    _id(),
    _of_task(),
    _text("by"),
    _ms("accepted_ms"),
    _ms("asked_ms", nullable=True),
    Column("effective_us", BigInteger),
    Column("from_offset", BigInteger),
    Column("to_offset", BigInteger),
    Column("epoch", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False, index=True),
    _text("message"),
    _ms("done_ms", nullable=True),
    Index(None, "task_id", "seq"),
)

verifications = Table(
    "verifications",
    metadata,
    _seq(),
    _id(),
    _of_task(),
    _text("by"),
    Column("repair", Boolean, nullable=False),
    Column("after_reset", Boolean, nullable=False),
    _ms("asked_ms"),
    _ms("started_ms", nullable=True),
    Column("ended_ms", BigInteger, index=True),
    _text("outcome"),
    _text("message"),
    Column("offset", BigInteger),
    Column("rows_per_s", Float, nullable=False),
    Column("tables", LargeBinary, nullable=False),  # sealed: it holds keys of rows
    Index(None, "task_id", "seq"),
)
