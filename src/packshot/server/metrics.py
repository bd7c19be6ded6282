"""Figures for Prometheus. Each server has its own registry, so that several in one process do not add up."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from packshot.jobs.desk import Desk

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0)


class Metrics:
    """What a server counts.

    Args:
        desk: whose load is shown.
    """

    def __init__(self, desk: Desk) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("packshot_requests", "Requests that were answered.", labels, registry=self.registry)
        self.seconds = Histogram(
            "packshot_request_seconds",
            "Time to the last byte of the answer.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.open = Gauge("packshot_requests_open", "Requests that are being answered.", registry=self.registry)
        self.jobs = Counter("packshot_jobs_submitted", "Jobs that were taken.", registry=self.registry)
        self.edits = Counter(
            "packshot_edits", "Pictures edited while their senders waited.", ("status",), registry=self.registry
        )
        waiting = Gauge("packshot_desk_waiting", "Requests that wait for a process.", registry=self.registry)
        waiting.set_function(lambda: desk.waiting)
        busy = Gauge("packshot_desk_busy", "Processes at work for somebody who waits.", registry=self.registry)
        busy.set_function(lambda: desk.busy)

    def text(self) -> bytes:
        """Returns all figures in Prometheus' own format."""
        return generate_latest(self.registry)
