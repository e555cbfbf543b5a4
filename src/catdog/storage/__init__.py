"""Files, JSON and the database. Writes are atomic, and reads are checked."""
