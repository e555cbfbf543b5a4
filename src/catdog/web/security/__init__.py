"""Who may call what, from where, and how often."""
