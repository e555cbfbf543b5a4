"""Jobs, and the worker that runs them and survives kills."""
