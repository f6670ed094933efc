"""Alembic's scripts for the metadata; started by `headwater.store.migrate` only, never by alembic's own command."""
