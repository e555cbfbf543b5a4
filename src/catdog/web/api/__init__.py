"""Routes for programs. Each reads a request, calls one function and returns the result."""
