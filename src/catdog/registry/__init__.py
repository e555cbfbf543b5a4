"""The model registry: complete, checksummed versions on disk, one of them the champion."""
