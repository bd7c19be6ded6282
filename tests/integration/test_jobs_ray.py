"""A job on a Ray cluster of two nodes, one of which goes half-way: the pixels are those of the local engine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from packshot.images.decode import decode
from packshot.jobs.hands import Asked, JobStopped, Order
from packshot.jobs.records import Output
from packshot.jobs.rows import Outcome
from packshot.jobs.settings import StudioSettings
from packshot.jobs.shard_engines import LocalEngine, Shard
from packshot.jobs.store import PictureStore
from tests.jobs_fake import FakeHands
from tests.jobs_help import BALANCE, in_own_network, png

pytest.importorskip("ray", reason="Ray is not installed: pip install 'packshot[ray]'")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.distributed,
    pytest.mark.timeout(500),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module", autouse=True)
def own_network() -> None:
    """Ray listens on every address that it finds."""
    in_own_network(__file__, 3)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "object_store_memory": 100_000_000, "include_dashboard": False},
    )
    yield made
    made.shutdown()


@pytest.fixture
def settings(cluster: Any, tmp_path: Path) -> StudioSettings:
    return StudioSettings(home=tmp_path, engine="ray", ray_address=cluster.address)


def shard_of(settings: StudioSettings, count: int, names: dict[int, str] | None = None) -> Shard:
    store = PictureStore(settings)
    order = Order(
        job="j",
        tenant="shop",
        steps=(BALANCE, {"task": "extend", "margins": "5"}),
        output=Output(),
        on=date(2026, 1, 1),
        pictures=(),
        folder=settings.place / "work" / "j",
    )
    asked = [
        Asked(number=i, picture=store.put(png(i)), name=(names or {}).get(i, f"p{i}.png"), stem=f"p{i}")
        for i in range(count)
    ]
    return Shard(order=order, asked=asked, rank=(5, "j"), tries=3)


def last_of(outcomes: list[Outcome]) -> dict[int, Outcome]:
    return {o.number: o for o in outcomes if o.state != "waiting"}


def test_a_node_that_goes_takes_nothing_with_it(cluster: Any, settings: StudioSettings) -> None:
    from packshot.jobs.ray_shards import RayEngine

    node = cluster.add_node(num_cpus=2, object_store_memory=100_000_000)
    cluster.wait_for_nodes()
    engine = RayEngine(settings)
    assert engine.width == 4
    outcomes: list[Outcome] = []
    removed = False
    for outcome in engine.run(shard_of(settings, 48)):
        outcomes.append(outcome)
        if len(outcomes) >= 20 and not removed:
            cluster.remove_node(node, allow_graceful=False)
            removed = True
    engine.close()
    assert removed
    made = last_of(outcomes)
    assert sorted(made) == list(range(48))
    assert {o.state for o in made.values()} == {"done"}
    assert len([o for o in outcomes if o.state != "waiting"]) == 48  # None twice.

    local = LocalEngine(StudioSettings(home=settings.home, workers=1))
    same = last_of(list(local.run(shard_of(settings, 48))))
    local.close()
    store = PictureStore(settings)
    for number, outcome in made.items():
        here, there = outcome.result, same[number].result
        assert here is not None
        assert there is not None
        assert here.name == there.name
        assert (decode(store.read(here.sha256)).pixels == decode(store.read(there.sha256)).pixels).all()


def test_a_picture_that_kills_its_process_goes_alone(settings: StudioSettings, tmp_path: Path) -> None:
    from packshot.jobs.ray_shards import RayEngine

    engine = RayEngine(settings, FakeHands(settings, tmp_path / "log"))
    outcomes = list(engine.run(shard_of(settings, 10, {2: "poison.png", 5: "bad.png"})))
    made = last_of(outcomes)
    assert {n: o.state for n, o in made.items()} == {n: "failed" if n in (2, 5) else "done" for n in range(10)}
    assert made[2].tries == made[5].tries == 3
    assert "process was lost" in (made[2].reason or "")
    stopped = shard_of(settings, 2, {0: "slow.png", 1: "slow1.png"})
    begun = time.monotonic()
    from threading import Timer

    Timer(3, stopped.stopped.set).start()
    assert list(engine.run(stopped)) == []
    assert time.monotonic() - begun < 10
    engine.close()


def test_steps_that_cannot_be_done_stop_the_job(settings: StudioSettings) -> None:
    from packshot.jobs.ray_shards import RayEngine

    engine = RayEngine(settings)
    shard = shard_of(settings, 2)
    wrong = Shard(**{**vars(shard), "order": Order(**{**vars(shard.order), "steps": ({"task": "nope"},)})})
    with pytest.raises(JobStopped, match="Unknown task"):
        list(engine.run(wrong))
    engine.close()
