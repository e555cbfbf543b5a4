"""Draw a small labelled data set for trying catdog without photos.

It needs only Pillow and NumPy. The same seed gives the same images.
"""

from catdog.data.sample.write import CLASSES, SampleData, write_sample_data

__all__ = ["CLASSES", "SampleData", "write_sample_data"]
