"""Hands that need no network and start quickly: this module imports little."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from packshot.jobs.hands import Made, Question
from packshot.jobs.records import Picture
from packshot.jobs.settings import StudioSettings
from packshot.jobs.store import PictureStore


@dataclass(frozen=True)
class FakeHands:
    """Hands that turn a picture's bytes round, and note each picture that they finish in a file.

    A picture called poison*.png kills its process, one called bad*.png fails, one called slow*.png takes a minute.

    Args:
        settings: of the studio.
        log: file to which a line is added for each picture that is finished.
        seconds: that a picture takes.
    """

    settings: StudioSettings
    log: Path
    seconds: float = 0.0

    def __call__(self, question: Question) -> Made | None:
        order, asked = question
        if asked is None:
            return None
        if asked.name.startswith("poison"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if asked.name.startswith("bad"):
            return Made(status="failed", reason=f"{asked.name} is bad.")
        time.sleep(60 if asked.name.startswith("slow") else self.seconds)
        store = PictureStore(self.settings)
        data = store.read(asked.picture)[::-1]
        sha256 = store.put(data)
        with self.log.open("a") as f:
            f.write(f"{order.job} {asked.number}\n")
        return Made(
            status="done",
            result=Picture(
                tenant=order.tenant,
                sha256=sha256,
                name=f"{asked.stem}.png",
                mime="image/png",
                width=24,
                height=24,
                size=len(data),
                created=datetime.now(UTC),
            ),
            figures={"nan": float("nan")},
        )
