"""What a person can put right: one sentence that says what was found and what would work."""

from __future__ import annotations


class UserError(ValueError):
    """Input that cannot be used. The command line prints the sentence alone and exits with code 2."""


class DataMissing(UserError):  # noqa: N818
    """A data set that is in none of the places where it is looked for."""


def first_line(error: BaseException) -> str:
    """An error as its type and the first line of its message."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
