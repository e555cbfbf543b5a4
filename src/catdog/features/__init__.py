"""The backbone and what it makes: 1,280 features per view, computed once and cached."""
