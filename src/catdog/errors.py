"""Every error that catdog raises on purpose, as one tree.

Each message says what was wrong, what is allowed, and what was received. The command line turns any
`CatdogError` into one line and the exit code of its class; a web layer may map classes to statuses.
"""


class CatdogError(Exception):
    """Base of all errors that a person can act on."""

    exit_code = 1


class SettingsError(CatdogError):
    """A `CATDOG_*` variable, a line of `.env` or an option has a value that is not allowed."""

    exit_code = 2


class MissingDependencyError(CatdogError):
    """A package that only this command needs is not installed."""


class PictureError(CatdogError):
    """A picture that cannot be used; the subclass says why."""


class PictureFormatError(PictureError):
    """The bytes are not one of the accepted formats, whatever the file's name says."""


class PictureTooLargeError(PictureError):
    """More bytes, pixels or pixels a side than the limits allow; found before the pixels are allocated."""


class PictureBrokenError(PictureError):
    """An accepted format, but the pixels cannot be decoded: truncated or corrupt."""


class PictureNotFoundError(CatdogError):
    """No such training picture, or none whose file is still there and as it was."""


class DatasetError(CatdogError):
    """A folder, archive or named data set that cannot be trained on or measured with."""


class DownloadError(CatdogError):
    """Something could not be fetched; the message says how to provide it by hand."""


class BackboneError(CatdogError):
    """A feature extractor that cannot be built, converted or loaded."""


class UnknownBackboneError(BackboneError, SettingsError):
    """A name that is none of a backbone's."""


class DataSetNameError(DownloadError, SettingsError):
    """A name that is none of a known data set's."""


class SplitNameError(DatasetError, SettingsError):
    """A split is said to be a folder that is not there."""


class StoreError(CatdogError):
    """The model store cannot do what was asked."""


class VersionNotFoundError(StoreError):
    """No such version, or none has been promoted yet."""


class VersionCorruptError(StoreError):
    """A stored version whose files do not match what was saved."""


class NoModelError(StoreError):
    """A server that has no model to answer with."""


class RequestError(CatdogError):
    """A request that lacks what it needs, or names what there is not."""


class ClassNameError(RequestError, DatasetError):
    """A class's name that is reserved, or that means several classes."""


class UploadTooLargeError(RequestError):
    """More bytes or pictures in one request than the limits allow."""


class MediaTypeError(RequestError):
    """A request whose body is of a kind that is not read."""


class JobNotFoundError(RequestError):
    """No such job."""


class ConflictError(CatdogError):
    """What was asked for does not fit the state of things: a job is under way already, or there is nothing to do."""


class JobError(CatdogError):
    """A job that ended without its result; the message says at which step and why."""


class JobCancelledError(CatdogError):
    """A job that whoever waited for it did not want any more."""

    exit_code = 130


class ServerBusyError(CatdogError):
    """More is under way than the server takes at once; the same request may succeed a moment later."""


class StoppedError(CatdogError):
    """A command that Ctrl-C, or a signal to end, stopped; says what is left of its work."""

    exit_code = 130

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DatabaseBusyError(CatdogError):
    """The database cannot be used at this moment."""


class DatabaseUnusableError(CatdogError):
    """A database that is damaged, gone or closed to this process; the message says what to do."""


class DatabaseTooNewError(CatdogError):
    """The database has tables that a newer catdog made, which this one does not know."""


class KeyNeededError(CatdogError):
    """A request that needs a key and brings none, or a wrong one."""


class ForbiddenError(CatdogError):
    """A request that is not allowed from where it comes, whatever it brings."""


class UploadConflictError(CatdogError):
    """What was asked of the pictures for retraining does not fit the state that they are in."""


class UploadNotFoundError(UploadConflictError):
    """No such picture, or batch of pictures, among those for retraining."""


class DiskFullError(CatdogError):
    """The disk is full, or would be fuller than the limits allow."""


class UploadsFullError(DiskFullError):
    """No room for more pictures for retraining; says which limit is reached, and what was kept."""


class ChartError(CatdogError):
    """Charts, or what they need, that cannot be made or read."""


class ExportError(CatdogError):
    """An export that cannot be written, cannot be run, or does not answer as catdog does."""
