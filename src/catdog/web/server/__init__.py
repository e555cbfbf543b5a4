"""gunicorn's configuration, its worker with an event loop, and the worker process beside it."""
