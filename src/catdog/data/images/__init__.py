"""A single image: its header, the cost of decoding it, and its pixels."""
