"""The backbone and its features, 1,280 per view, computed once and cached."""
