"""A shop with PostgreSQL, S3 and Ray, by one settings file: real servers, `packshot work` itself, and a kill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from packshot.jobs.settings import StudioSettings, read_settings
from packshot.jobs.studio import Studio
from tests.integration.test_jobs_postgres import Postgres
from tests.jobs_help import add, ended, in_own_network, request_of, wait_for

pytest.importorskip("ray", reason="Ray is not installed: pip install 'packshot[ray]'")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.distributed,
    pytest.mark.timeout(500),
    pytest.mark.filterwarnings("default"),
]
STEPS = ({"task": "enhance", "white_balance": 0.5}, {"task": "extend", "margins": "4"})


@pytest.fixture(scope="module", autouse=True)
def own_network() -> None:
    """Ray listens on every address that it finds."""
    in_own_network(__file__, 1)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    import boto3
    from moto.server import ThreadedMotoServer
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    folder = Path(tempfile.mkdtemp(prefix="packshot-pg-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = Postgres(folder)
        postgres.start()
        stack.callback(postgres.stop)
        postgres.run("createdb", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", "studio")
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        moto.start()
        stack.callback(moto.stop)
        endpoint = "http://{}:{}".format(*moto.get_host_and_port())
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        s3.create_bucket(Bucket="shop")
        head = {"num_cpus": 2, "object_store_memory": 100_000_000, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        stack.callback(cluster.shutdown)
        path = tmp_path / "shop.toml"
        path.write_text(
            f"""
            home = "{tmp_path / "studio"}"
            database = "postgresql+psycopg://postgres@127.0.0.1:{postgres.port}/studio"
            store = "s3://shop/pictures"
            store_options = {{ endpoint_url = "{endpoint}", key = "test", secret = "test" }}
            engine = "ray"
            ray_address = "{cluster.address}"
            shard = 16
            """
        )
        yield path


def start(file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "packshot", "work", "--settings", str(file)])


def test_the_shop(file: Path) -> None:
    settings = read_settings(file)
    studio = Studio(settings)
    job = studio.submit(request_of(add(studio, 40), steps=STEPS))
    worker = start(file)
    try:
        wait_for(studio, job.id, lambda j: j.finished >= 4, 150)
        worker.kill()
        worker.wait()
        before = {i.number: i.result for i in studio.items("shop", job.id, state="done")}
        worker = start(file)
        job = wait_for(studio, job.id, ended, 200)
        assert studio.ready() == {"database": "ok", "store": "ok", "worker": "ok"}
    finally:
        worker.terminate()
        assert worker.wait(30) == 0
    assert job.state == "done", job
    assert job.counts["done"] == 40
    results = dict(studio.results("shop", job.id))
    assert list(results) == [f"p{i}.png" for i in range(40)]
    assert {i.number: i.result for i in studio.items("shop", job.id) if i.number in before} == before
    assert all(studio.read_picture("shop", sha256).startswith(b"\x89PNG") for sha256 in results.values())
    assert not (StudioSettings(home=settings.home).place / "queue.sqlite").exists()  # All of it is in PostgreSQL.
    studio.close()
