"""Alembic's revisions of the tables in `catdog.database`."""
