"""The error that means "the user can fix this": entry points print it as one line and exit with status 2."""


# Exit statuses: the target was reached, or the run ended as asked; results do not keep the rules; a mistake; training ended
# without the target.
OK, NOT_PASSED, USER_ERROR, NOT_REACHED = 0, 1, 2, 3


class UserError(Exception):
    """A mistake in the configuration, the data or the environment, told in one clear line.

    The message says what is wrong (with the value), the rule it breaks, and what to do about it.
    """

    def __str__(self) -> str:
        """The message, which may quote a file of somebody else."""
        return "\n".join(map(printable, super().__str__().split("\n")))


def printable(text: str) -> str:
    """Text of one line as a terminal may show it: what it would obey, and bytes of a name that are no text, become "?"."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
