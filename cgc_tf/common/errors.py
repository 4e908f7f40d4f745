"""A user's mistake, and work that was stopped: what programs end on, and how they say it in a line."""

from collections.abc import Sequence


class UserError(ValueError):
    """Something the user can fix; the message names the input and how to fix it."""


class Stopped(Exception):
    """Work was stopped by a signal, and is saved; started again, it goes on from there."""


def first_line(error: BaseException) -> str:
    """What an exception says, in one line; its type, where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def position_in_words(epoch: int, step: int) -> str:
    """Where a run stands that has done so many epochs, and steps of the next one."""
    return f"epoch {epoch + 1}, step {step}" if step else f"the end of epoch {epoch}"


def counted(count: int, noun: str) -> str:
    """A number of things in words: "1 picture", "2 pictures"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def first_few(names: Sequence[str], count: int = 3) -> str:
    """Of many names the first, and how many more there are: what one line has room for."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")
