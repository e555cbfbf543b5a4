"""Files, JSON and the database: what is written is whole or absent, what is read is checked."""
