"""The store of pictures: whole or not at all, checked when it is read; a local folder and S3 alike."""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from packshot.core.errors import DiskFull, PackshotError, UsageError
from packshot.jobs.settings import StudioSettings
from packshot.jobs.store import PictureGone, PictureStore, StoreLost

DATA = b"a picture's bytes" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PictureStore:
    url = f"memory://{uuid.uuid4().hex}" if request.param == "memory" else ""
    return PictureStore(StudioSettings(home=tmp_path / "studio", store=url))


def the_whole_story(store: PictureStore, folder: Path) -> None:
    store.check()
    assert store.size(DIGEST) is None
    with pytest.raises(PictureGone, match="not in the store"):
        store.read(DIGEST)
    assert store.put(DATA) == DIGEST
    assert store.put(DATA) == DIGEST
    assert store.size(DIGEST) == len(DATA)
    assert store.read(DIGEST) == DATA
    copy = folder / "a" / "copy"
    store.fetch(DIGEST, copy)
    assert copy.read_bytes() == DATA
    copy.write_bytes(DATA[:-5])  # As a crash of the machine may leave it.
    store.fetch(DIGEST, copy)
    assert copy.read_bytes() == DATA
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]
    big = folder / "big"
    big.write_bytes(DATA * 200)
    assert store.put_file(big) == hashlib.sha256(DATA * 200).hexdigest() == store.put_file(big)
    assert store.read(store.put_file(big)) == DATA * 200
    assert store.read_derived(DIGEST, "thumb-320") is None
    store.keep_derived(DIGEST, "thumb-320", b"small")
    assert store.read_derived(DIGEST, "thumb-320") == b"small"
    store.remove(DIGEST)
    store.remove(DIGEST)
    assert store.size(DIGEST) is None
    assert store.read_derived(DIGEST, "thumb-320") is None
    store.drop_mentions({DIGEST})  # Of what is not there.
    other = "b" * 64
    shows, names = f"style-{DIGEST[:24]}-320", "styled-sketch-100"
    store.keep_derived(other, shows, b"in its style")
    store.keep_derived(other, names, DIGEST.encode())
    store.keep_derived(other, "thumb-320", b"stays" * 20)
    store.keep_derived(other, "styled-ink-100", b"c" * 64)
    store.drop_mentions({DIGEST})
    store.drop_torn(DIGEST)
    left = [kind for kind in (shows, names, "thumb-320", "styled-ink-100") if store.read_derived(other, kind)]
    assert left == ["thumb-320", "styled-ink-100"]


def test_the_whole_story(store: PictureStore, tmp_path: Path) -> None:
    the_whole_story(store, tmp_path)


def test_a_damaged_picture_is_not_given_out(tmp_path: Path) -> None:
    store = PictureStore(StudioSettings(home=tmp_path))
    store.put(DATA)
    (tmp_path / "store" / DIGEST[:2] / DIGEST).write_bytes(DATA[:-1] + b"!")
    with pytest.raises(PictureGone, match="damaged"):
        store.read(DIGEST)
    with pytest.raises(PictureGone, match="damaged"):
        store.fetch(DIGEST, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    (tmp_path / "store" / DIGEST[:2] / DIGEST).write_bytes(DATA[:-1])  # Cut short: whoever sends it again mends it.
    store.put(DATA)
    assert store.read(DIGEST) == DATA


def test_a_file_is_kept_on_whatever_disk_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PictureStore(StudioSettings(home=tmp_path / "home"))
    kept = tmp_path / "home" / "store" / DIGEST[:2] / DIGEST
    path = tmp_path / "p"
    path.write_bytes(DATA)
    store.put_file(path)
    path.unlink()
    assert store.read(DIGEST) == DATA
    store.remove(DIGEST)
    path.write_bytes(DATA)

    def no_links(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", no_links)
    store.put_file(path)
    assert kept.read_bytes() == DATA
    assert kept.stat().st_nlink == 1
    kept.write_bytes(DATA[:4])  # Torn: the next one mends it.
    monkeypatch.undo()
    store.put_file(path)
    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 63, "A" * 64, "a" * 63 + "/"])
def test_only_checksums_are_names(store: PictureStore, name: str) -> None:
    for ask in (store.read, store.size, store.remove, lambda n: store.read_derived(n, "x")):
        with pytest.raises(UsageError, match="no checksum"):
            ask(name)
    with pytest.raises(ValueError, match="no kind"):
        store.keep_derived(DIGEST, "../x", b"")


def test_putting_at_once_gives_one_whole_picture(tmp_path: Path) -> None:
    store = PictureStore(StudioSettings(home=tmp_path))
    threads = [Thread(target=store.put, args=(DATA,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(DIGEST) == DATA
    assert [p.name for p in (tmp_path / "store" / DIGEST[:2]).iterdir()] == [DIGEST]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    store = PictureStore(StudioSettings(home=tmp_path, store="file:///dev/full"))
    with pytest.raises(PackshotError, match="/dev/full"):
        store.put(DATA)


def test_a_full_disk_is_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PictureStore(StudioSettings(home=tmp_path))

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFull, match="the disk is full"):
        store.put(DATA)
    monkeypatch.undo()
    assert store.size(DIGEST) is None
    assert store.put(DATA) == DIGEST


@pytest.mark.parametrize("url", ["nosuch://x", "nosuch+x://y"])
def test_unknown_stores_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="store is"):
        PictureStore(StudioSettings(store=url))


@pytest.fixture
def s3() -> Iterator[dict[str, object]]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
    boto3.client(
        "s3",
        endpoint_url=options["endpoint_url"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    ).create_bucket(Bucket="shop")
    yield options
    server.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_s3(s3: dict[str, object], tmp_path: Path) -> None:
    store = PictureStore(StudioSettings(store="s3://shop/studio", store_options=s3))
    the_whole_story(store, tmp_path)
    store.put(DATA)
    other = PictureStore(StudioSettings(store="s3://shop/studio", store_options=s3))
    assert other.read(DIGEST) == DATA
    with pytest.raises(PackshotError):
        PictureStore(StudioSettings(store="s3://no-such-bucket/x", store_options=s3)).put(DATA)
    lost = dict(s3, endpoint_url="http://127.0.0.1:9", config_kwargs={"retries": {"max_attempts": 0}})
    with pytest.raises(StoreLost, match="does not answer"):
        PictureStore(StudioSettings(store="s3://shop/x", store_options=lost)).read(DIGEST)
