"""Every error that a user's input can cause, as a type. The message names the file and the mend."""


class AudioVQError(Exception):
    """Base of all errors raised on purpose; the command line prints its message as one line and exits 1."""


class BadAudioError(AudioVQError):
    """An audio file or array can't be read or doesn't fit the model."""


class BadCodesError(AudioVQError):
    """A `.codes` file is damaged, truncated, of an unknown version, or not one at all."""


class ModelMismatchError(AudioVQError):
    """A `.codes` file was written by another model than the one that should decode it."""


class BadModelError(AudioVQError):
    """A model folder is missing, incomplete or inconsistent, or a name is unknown."""


class ConfigError(AudioVQError):
    """A configuration has an unknown key or an impossible value."""


class BadDataError(AudioVQError):
    """A data directory or packed corpus is malformed; the message names the file and line."""


class OutputError(AudioVQError):
    """An output can't be written: it exists already (and no force was asked), or its place is not writable."""


class TrainingError(AudioVQError):
    """A training can't go on, as what it computes is not finite any more."""
