"""Which photos a model was trained on: their digests beside the run, and the root that stands for all of them.

`training_set.bin` in a run's folder holds the SHA-256 of each photo's bytes (of its pixels, where it came as pixels),
sorted, each once, 32 bytes each and nothing else. `training_set.origin.bin` holds in the same form what the weights and
the text model that the run began with had been trained on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, read_json, write_bytes, write_json
from packshot.core.merkle import ALGORITHM, inclusion_proof, merkle_root

OWN, INHERITED = "training_set.bin", "training_set.origin.bin"
RETRAINING = "retraining"
"""What run.json and card.json say of erasures after the training: a list, one entry for each."""
SIZE = 32


@dataclass(frozen=True)
class TrainingSet:
    """The photos of a training set.

    Attributes:
        leaves: SHA-256 digests of 32 bytes, sorted, each once.
    """

    leaves: Sequence[bytes]

    @classmethod
    def of(cls, digests: Iterable[str]) -> TrainingSet:
        """Returns the set of photos with these SHA-256, in hex digits, in any order."""
        return cls(sorted({bytes.fromhex(digest) for digest in digests}))

    @classmethod
    def read(cls, path: Path) -> TrainingSet:
        """Reads a file of digests.

        Raises:
            PackshotError: it is missing, or is no sorted list of digests.
        """
        with disk_errors(path):
            data = path.read_bytes()
        leaves = [data[at : at + SIZE] for at in range(0, len(data), SIZE)]
        if len(data) % SIZE or any(a >= b for a, b in pairwise(leaves)):
            raise PackshotError(f"{path} is damaged: it is no sorted list of SHA-256; restore it from a backup.")
        return cls(leaves)

    def write(self, path: Path) -> None:
        """Writes what `read` reads."""
        write_bytes(path, b"".join(self.leaves))

    def __contains__(self, sha256: str) -> bool:
        return self._place(sha256) is not None

    def __len__(self) -> int:
        return len(self.leaves)

    @property
    def root(self) -> str:
        """The root of their Merkle tree, as 64 hex digits."""
        return merkle_root(self.leaves).hex()

    def about(self) -> dict[str, Any]:
        """Returns what run.json, card.json and the model file say of it."""
        return {"root": self.root, "photos": len(self.leaves), "algorithm": ALGORITHM}

    def prove(self, sha256: str) -> tuple[int, list[bytes]] | None:
        """Returns (place, audit path) of a photo for `merkle.verify_inclusion`; None: it is not in the set."""
        place = self._place(sha256)
        return None if place is None else (place, inclusion_proof(self.leaves, place))

    def _place(self, sha256: str) -> int | None:
        digest = bytes.fromhex(sha256)
        place = bisect_left(self.leaves, digest)
        return place if place < len(self.leaves) and self.leaves[place] == digest else None


def trained_on(run: Path, sha256: str) -> bool:
    """Returns whether a run's model was trained on a photo, in the run itself or in what it began with.

    Args:
        run: the run's folder.
        sha256: of the photo's bytes, 64 hex digits (the manifest's `sha256`).

    Raises:
        PackshotError: the run has no list of its photos (an older Packshot trained it), or the list is damaged.
    """
    if not (run / OWN).is_file():
        raise PackshotError(
            f"{run} does not say which photos it was trained on: an older Packshot trained it. Take it as trained on "
            "every photo of its catalogue."
        )
    return any(sha256 in TrainingSet.read(run / name) for name in (OWN, INHERITED) if (run / name).is_file())


def inherited_from(files: Iterable[Path]) -> TrainingSet | None:
    """Returns what the makers of some model files or checkpoints were trained on; None where none of them says.

    Args:
        files: each in its run's folder, or one folder further down.
    """
    leaves: set[bytes] = set()
    for file in files:
        for folder in (file.parent, file.parent.parent):
            if (folder / OWN).is_file():
                for name in (OWN, INHERITED):
                    if (folder / name).is_file():
                        leaves.update(TrainingSet.read(folder / name).leaves)
                break
    return TrainingSet(sorted(leaves)) if leaves else None


def mark_for_retraining(run: Path, *, erasure: str, time: str, photos: int, certain: bool) -> None:
    """Notes in a run's run.json and card.json that photos which it learned from were erased; once for each erasure.

    Args:
        run: the run's folder.
        erasure: the erasure's id.
        time: of the erasure, ISO 8601.
        photos: how many of the photos it learned from were erased; 0: not known.
        certain: False: the run does not say which photos it learned from, and its catalogue had them.

    Raises:
        PackshotError: a file is damaged, or may not be written.
    """
    row = {"erasure": erasure, "time": time, "photos": photos, "certain": certain}
    for name in ("card.json", "run.json"):  # The run last: it is what tells that both are done.
        path = run / name
        if not path.is_file():
            continue
        about = read_json(path)
        if not isinstance(about, dict):
            raise PackshotError(f"{path} is damaged; restore it from a backup.")
        before = [old for old in about.get(RETRAINING) or [] if old.get("erasure") != erasure]
        write_json(path, {**about, RETRAINING: [*before, row]})


def needs_retraining(run: Path) -> str | None:
    """Returns a sentence if photos that a run's model learned from were erased since; None: nothing is known of any.

    Args:
        run: the run's folder, or a file in it (its model).

    Raises:
        PackshotError: run.json is damaged.
    """
    run = run.parent if run.is_file() else run
    if not (run / "run.json").is_file():
        return None
    about = read_json(run / "run.json")
    rows = about.get(RETRAINING) if isinstance(about, dict) else None
    if not rows:
        return None
    times = sorted(str(row.get("time", ""))[:10] for row in rows)
    photos = sum(row.get("photos", 0) for row in rows)
    if any(row.get("certain") for row in rows):
        many = f"{photos:,} photo" + "s" * (photos != 1)
        return (
            f"{run} learned from {many} that {'was' if photos == 1 else 'were'} erased since (last on {times[-1]}): "
            "train a new run without them."
        )
    return (
        f"{run} may have learned from photos that were erased since (last on {times[-1]}), and does not say from "
        "which it learned: train a new run without them."
    )
