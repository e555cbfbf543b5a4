"""Charts, each defined once: its rows, its drawing and its key finding."""
