"""Types of values chosen by name. Importing this loads nothing else, which keeps the command line fast."""

from typing import Literal

ExportFormat = Literal["keras", "h5", "onnx", "openvino", "litert", "saved_model"]
UploadState = Literal["active", "pending", "removed"]
"""State of an image for retraining: in use, feedback awaiting confirmation, or removed."""
