"""A tree of folders read as classes and splits, by names alone."""
