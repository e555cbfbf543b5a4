"""Classes and splits from the names of folders."""
