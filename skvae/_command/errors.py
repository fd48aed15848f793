"""What ends a command: input that cannot be used."""


class Unusable(Exception):  # noqa: N818, it is about the input
    """Input or output that cannot be used. The message is one line, and says what to do about it."""


def one_line(text: object) -> str:
    """A text without line breaks and control characters."""
    return "".join(char if char.isprintable() else " " for char in " ".join(str(text).split()))


def shown(value: object, width: int = 40) -> str:
    """A value in quotation marks, shortened."""
    text = one_line(value)
    return repr(text if len(text) <= width else text[: width - 3] + "...")
