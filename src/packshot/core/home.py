"""The user's own folder: keys, and the register of what was released."""

import os
from pathlib import Path


def home() -> Path:
    """Returns $PACKSHOT_HOME, else packshot in $XDG_CONFIG_HOME, else ~/.config/packshot; it need not be there yet."""
    if own := os.environ.get("PACKSHOT_HOME"):
        return Path(own)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "packshot"
