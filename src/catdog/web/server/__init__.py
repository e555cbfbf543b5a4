"""gunicorn's configuration, its worker class with an event loop, and the supervisor of the retraining worker."""
