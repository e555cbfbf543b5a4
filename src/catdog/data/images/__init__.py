"""One image: what it says of itself, what decoding it costs, and its pixels."""
