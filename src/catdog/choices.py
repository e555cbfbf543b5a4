"""What is chosen by name, in commands too: these load nothing, so that the command line can offer it at once."""

from typing import Literal

ExportFormat = Literal["keras", "h5", "onnx", "openvino", "litert", "saved_model"]
UploadState = Literal["active", "pending", "removed"]
"""Of a picture for retraining: in use, feedback that waits to be confirmed, out of use."""
