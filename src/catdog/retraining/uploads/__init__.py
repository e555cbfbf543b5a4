"""Images that wait for retraining: received, checked, kept, reviewed."""
