"""The error that means "the user can fix this": entry points print it as one line and exit with status 2."""


class UserError(Exception):
    """A mistake in the configuration, the data or the environment, told in one clear line.

    The message says what is wrong (with the value), the rule it breaks, and what to do about it.
    """
