"""Untrusted zips, tars and compressed files, read in bounded time and memory."""
