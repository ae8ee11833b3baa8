"""Kinds of arguments that several of these programs take."""

from argparse import ArgumentTypeError


def count(text: str) -> int:
    """Return a number of one or more.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ArgumentTypeError(f"{text} is no number of one or more")
    return int(text)
