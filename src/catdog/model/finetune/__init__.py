"""Fine-tuning of the backbone, end to end."""
