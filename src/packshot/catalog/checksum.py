"""The checksum that tells one catalogue from another."""

import hashlib
import json
from collections.abc import Mapping, Sequence


def compute_checksum(files: Mapping[str, str], categories: Sequence[str]) -> str:
    """Returns a catalogue's checksum: SHA-256 over the manifest's and each shard's own, and the order of categories.

    Args:
        files: SHA-256 by name; rejected.jsonl, which no training sees, does not count.
        categories: names, in the order of their labels.
    """
    lines = [f"{sha256}  {name}" for name, sha256 in sorted(files.items()) if name != "rejected.jsonl"]
    return hashlib.sha256("\n".join([*lines, json.dumps(list(categories))]).encode()).hexdigest()
