"""Jobs and the worker that runs them, whatever is killed on the way."""
