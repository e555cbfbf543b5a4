"""Draw a small labelled data set, so that catdog can be tried without photographs.

Nothing but Pillow and NumPy is needed: no network, no files. The same seed gives the same images.
"""

from catdog.data.sample.write import CLASSES, SampleData, write_sample_data

__all__ = ["CLASSES", "SampleData", "write_sample_data"]
