"""Retraining from uploads: their storage and review, the steps, and the jobs that run them."""
