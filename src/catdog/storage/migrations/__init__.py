"""Alembic's revisions of the tables in `catdog.storage.database`."""
