"""Bodies of requests: how large, how they are read, and the images in them."""
