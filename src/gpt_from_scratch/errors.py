"""The one kind of error that a user can mend."""


class InputError(ValueError):
    """Something that came in is not usable: a file, a parameter, a download, a checkpoint.

    The message is one sentence that names the file or key, the place, what was expected and what was found.
    Stages and the command print it alone, without a traceback, and end with exit code 1.
    """
