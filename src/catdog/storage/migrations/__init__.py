"""Alembic revisions of the tables in `catdog.storage.tables`."""
