"""Zips, tars and compressed files from anywhere, read in bounded time and memory."""
