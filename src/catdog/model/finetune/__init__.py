"""Tuning the backbone itself, end to end."""
