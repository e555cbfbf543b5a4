"""Charts: one definition each, of its rows, its drawing and the sentence that says what it shows."""
