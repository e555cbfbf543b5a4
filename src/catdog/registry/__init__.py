"""Versions of the model on disk: whole or absent, checked, one of them the champion."""
