"""All errors that catdog raises, as one class tree.

Each message says what is wrong and what to do. The command line prints a `CatdogError` as one line and exits with its
class's code; the web application maps classes to statuses.
"""


class CatdogError(Exception):
    """Base of all errors a person can act on."""

    exit_code = 1


class SettingsError(CatdogError):
    """A `CATDOG_*` variable, a line of `.env` or an option has an invalid value."""

    exit_code = 2


class MissingDependencyError(CatdogError):
    """An optional package that the command needs isn't installed."""


class PictureError(CatdogError):
    """An image can't be used; the subclass says why."""


class PictureFormatError(PictureError):
    """The content isn't a supported format, whatever the file's name."""


class PictureTooLargeError(PictureError):
    """An image exceeds the limits of bytes, pixels or side; detected before decoding."""


class PictureBrokenError(PictureError):
    """An image of a supported format is truncated or damaged."""


class PictureNotFoundError(CatdogError):
    """No such training image, or its file is missing or changed."""


class DatasetError(CatdogError):
    """A data set can't be used for training or evaluation."""


class DownloadError(CatdogError):
    """A download failed; the message says how to provide the file by hand."""


class BackboneError(CatdogError):
    """A backbone can't be built, converted or loaded."""


class UnknownBackboneError(BackboneError, SettingsError):
    """Unknown backbone name."""


class DataSetNameError(DownloadError, SettingsError):
    """Unknown data set name."""


class SplitNameError(DatasetError, SettingsError):
    """A split refers to a folder that doesn't exist."""


class StoreError(CatdogError):
    """The model store can't carry out a request."""


class VersionNotFoundError(StoreError):
    """No such version, or none was promoted yet."""


class VersionCorruptError(StoreError):
    """A stored version's files are missing, changed or inconsistent."""


class NoModelError(StoreError):
    """The server has no model in use."""


class RequestError(CatdogError):
    """A request is incomplete, or refers to something unknown."""


class ClassNameError(RequestError, DatasetError):
    """A class name is reserved or ambiguous."""


class UploadTooLargeError(RequestError):
    """A request has more bytes or images than allowed."""


class MediaTypeError(RequestError):
    """A request's content type isn't supported."""


class JobNotFoundError(RequestError):
    """No such job."""


class ConflictError(CatdogError):
    """The request conflicts with the current state, such as a job that is already running."""


class JobError(CatdogError):
    """A job failed; the message says at which step and why."""


class JobCancelledError(CatdogError):
    """A job was cancelled."""

    exit_code = 130


class ServerBusyError(CatdogError):
    """The server is at capacity; a retry may succeed."""


class StoppedError(CatdogError):
    """A command was stopped by Ctrl-C or SIGTERM; says what was kept."""

    exit_code = 130

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DatabaseBusyError(CatdogError):
    """The database is temporarily unavailable."""


class DatabaseUnusableError(CatdogError):
    """The database is damaged, missing or not accessible; the message says what to do."""


class DatabaseTooNewError(CatdogError):
    """The database was upgraded by a newer version of catdog."""


class KeyNeededError(CatdogError):
    """A request needs a key and has none, or a wrong one."""


class ForbiddenError(CatdogError):
    """A request isn't allowed from its origin, with or without a key."""


class UploadConflictError(CatdogError):
    """A change doesn't fit the current state of the images for retraining."""


class UploadNotFoundError(UploadConflictError):
    """No such image or batch for retraining."""


class DiskFullError(CatdogError):
    """The disk is full, or would exceed its limit."""


class UploadsFullError(DiskFullError):
    """The limit of images for retraining is reached; says which one, and what was kept."""


class ChartError(CatdogError):
    """Charts can't be created or read."""


class ExportError(CatdogError):
    """An export can't be written or run, or its predictions differ from catdog's."""
