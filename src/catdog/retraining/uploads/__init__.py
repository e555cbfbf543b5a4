"""Uploads, the images for retraining: intake, storage, review and repair."""
