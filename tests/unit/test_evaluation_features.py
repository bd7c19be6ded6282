"""Feature nets and the cache of features: protocol, weights, threads, and files that are whole or not there."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.core.errors import PackshotError
from packshot.evaluation.features import cached_features, compute_features, content_key
from packshot.models.features import efflite
from packshot.models.features.efflite import load_efflite0, load_original
from tests.evaluation_stubs import drawn, random_state, stub_net


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (32, 1), (28, 3), (64, 3), (100, 1)])
def test_efflite0_is_the_protocol_on_the_packages_own_network(size: int, channels: int) -> None:
    images = drawn(6, 1, size, channels)[0]
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    if size == 28:
        x = F.pad(x, (2, 2, 2, 2))
    x = F.interpolate(x / 127.5 - 1, size=(64, 64), mode="bilinear", antialias=True, align_corners=False)
    x = x.repeat(1, 3, 1, 1) if channels == 1 else x
    with torch.no_grad():
        expected = load_original().extract_features(x).mean((2, 3)).double().numpy()
    got = load_efflite0().features(images)
    assert got.dtype == np.float64
    assert got.shape == (6, 1280)
    np.testing.assert_allclose(got, expected, atol=2e-4)
    assert expected.std() > 0.1


def test_loading_prints_nothing_and_draws_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    load_efflite0.cache_clear()
    before = random_state()
    net = load_efflite0()
    assert random_state() == before
    assert capfd.readouterr() == ("", "")
    assert load_efflite0() is net
    assert not net.module.training
    assert not any(p.requires_grad for p in net.module.parameters())


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efflite, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(PackshotError, match=r"not the weights file .* pip install"):
        load_original()


def test_threads_and_batches_do_not_matter() -> None:
    images = drawn(130, 2, 28)[0]
    net = load_efflite0()
    threads = torch.get_num_threads()
    one = net.features(images)
    try:
        torch.set_num_threads(2)
        np.testing.assert_array_equal(net.features(images), one)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(net.features(images[40:45]), one[40:45], atol=1e-4)
    assert net.features(images[:0]).shape == (0, 1280)


def test_read_only_pictures_pass_and_wrong_ones_do_not() -> None:
    images = drawn(4, 2)[0]
    images.flags.writeable = False
    net = stub_net()
    assert net.features(images).shape == (4, 16)
    with pytest.raises(TypeError, match="uint8"):
        net.features(images.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 channels"):
        net.features(np.zeros((4, 8, 8, 2), np.uint8))
    with pytest.raises(ValueError, match="shape"):
        net.features(np.zeros((4, 8, 9, 1), np.uint8))


def test_features_are_exact_in_float32() -> None:
    images, net = drawn(60, 3)[0], stub_net()
    steps: list[int] = []
    got = compute_features(net, images, step=steps.append)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got.astype(np.float64), net.features(images))
    assert steps == [60]


class Counting(nn.Module):
    """Counts its calls, and fails at one of them."""

    def __init__(self, fails_at: int = 0) -> None:
        super().__init__()
        self.calls, self.fails_at = 0, fails_at

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.fails_at:
            raise MemoryError
        return F.adaptive_avg_pool2d(x, 4).flatten(1)


def test_the_cache_is_made_once_and_is_safetensors(tmp_path: Path) -> None:
    images = drawn(120, 4)[0]
    module = Counting()
    net = stub_net(16, module)
    first = cached_features(net, images, tmp_path / "new" / "cache")
    calls = module.calls
    again = cached_features(net, images, tmp_path / "new" / "cache")
    assert module.calls == calls
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, compute_features(net, images))
    (file,) = (tmp_path / "new" / "cache").iterdir()
    np.testing.assert_array_equal(safetensors.numpy.load_file(file)["features"], first)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


def test_the_cache_knows_its_pictures_and_protocol(tmp_path: Path) -> None:
    images = drawn(50, 4)[0]
    other = images.copy()
    other[17, 3, 3, 0] ^= 1
    keys = {content_key("a", images), content_key("b", images), content_key("a", other), content_key("a", images[:49])}
    assert len(keys) == 4
    assert content_key("a", images) == content_key("a", np.asfortranarray(images))
    assert content_key(images.reshape(50, 16, 16)) != content_key(images)
    for pictures in (images, other):
        cached_features(stub_net(), pictures, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_unfinished_cache_is_not_there(tmp_path: Path) -> None:
    images = drawn(60, 4)[0]
    with pytest.raises(MemoryError):
        cached_features(stub_net(16, Counting(2)), images, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    images = drawn(60, 4)[0]
    cached_features(stub_net(), images, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:5], b"", b"\xff" * 40):
        file.write_bytes(damaged)
        with pytest.raises(PackshotError, match=r"features-stub-.* damaged; delete this file"):
            cached_features(stub_net(), images, tmp_path)
    file.write_bytes(whole)
    assert cached_features(stub_net(), images, tmp_path).shape == (60, 16)


SLOW_WRITER = """
import sys, time
from pathlib import Path
import torch
from packshot.evaluation.features import cached_features
from tests.evaluation_stubs import Blocks, drawn, stub_net

class Slow(Blocks):
    def forward(self, x):
        time.sleep(0.05)
        return super().forward(x)

print("ready", flush=True)
cached_features(stub_net(16, Slow()), drawn(5000, 4)[0], Path(sys.argv[1]))
"""


def test_kill_9_leaves_no_file_that_would_be_believed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", SLOW_WRITER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not list(tmp_path.glob("features-*"))
    images = drawn(5000, 4)[0]
    np.testing.assert_array_equal(cached_features(stub_net(), images, tmp_path), compute_features(stub_net(), images))
