"""Errors whose message is one line for the user: what, which file, how to mend it.

Entry scripts print the line and exit with 1 (:func:`core.engine.cli.main_line`); any other
exception is a fault of ours and shows its traceback.
"""


class UserError(Exception):
    """One line that a person can act on."""

    for_user = True  # data's loaders hand it on as it is; they import nothing of core


class ConfigError(UserError, ValueError):
    """A config, flag or environment variable that cannot be read or run."""


class CannotConvert(ConfigError):
    """The config has no HL version, or its pixels cannot be weighted as asked; the reason."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that is missing, damaged, or holds more than plain values."""


class ResultError(UserError, ValueError):
    """A ``result.json`` that cannot be read, or is of another run than the one asked for."""


class DamagedResult(ResultError):
    """A ``result.json`` that is not what a run leaves; the same command makes it anew."""


class WriteError(UserError, OSError):
    """A file could not be written; the one before it, if any, is as it was."""


class MapError(UserError, ValueError):
    """A hardness map that is missing, damaged, or of another size than its image."""


class PictureError(UserError, ValueError):
    """A picture that is missing, damaged, or no array that a network takes."""


class NotFinite(UserError, RuntimeError):
    """The loss became NaN or infinite."""
