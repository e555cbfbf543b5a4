"""A new version from uploads: what is collected, the steps, and the jobs that run them."""
