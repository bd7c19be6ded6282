"""Text from elsewhere: a file's name may have bytes that are no letters."""


def as_utf8(text: str) -> str:
    """Returns text that UTF-8 can hold; what it cannot is written as \\udcXX."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
