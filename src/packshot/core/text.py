"""Text from elsewhere: a name may have bytes that are no letters, and letters that no terminal should see."""


def printable(text: str) -> str:
    """Returns text for a terminal or a sentence: names may hold line breaks, control sequences and what is no text."""
    return "".join(c if c.isprintable() else "?" for c in text)


def as_utf8(text: str) -> str:
    """Returns text that UTF-8 can hold; what it cannot is written as \\udcXX."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
