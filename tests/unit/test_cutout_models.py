"""Matting networks: the package's own, and the ONNX files that a user brings."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from packshot.core.errors import PackshotError, UsageError
from packshot.models.cutout.foreign import KNOWN, ForeignMatter
from packshot.models.cutout.guess import agreement, certainty, plausible
from packshot.models.cutout.net import MattingConfig, MattingNet, take_imagenet_weights
from packshot.models.cutout.own import OwnMatter
from packshot.models.features.efflite import load_original
from packshot.models.weights import save_tensors

SMALL = MattingConfig(widths=(4, 4, 6, 8, 8), detail=4)


@pytest.fixture(scope="module")
def net() -> MattingNet:
    torch.manual_seed(0)
    return MattingNet(SMALL).eval()


def test_the_encoder_is_efficientnet_lite0() -> None:
    net, theirs = MattingNet(SMALL), load_original()
    take_imagenet_weights(net.encoder)
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        y = nn.functional.relu6(theirs._bn0(theirs._conv_stem(x)))
        for block in theirs._blocks:
            y = block(y)
        own = net.encoder(x)
    assert [tuple(f.shape[1:]) for f in own] == [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    torch.testing.assert_close(own[-1], y, atol=1e-3, rtol=1e-3)


def test_logits_have_the_photos_size_and_every_weight_learns() -> None:
    torch.manual_seed(1)
    net = MattingNet(SMALL).train()
    logits, coarse = net(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, 1, 64, 96)
    assert coarse.shape == (2, 1, 8, 12)
    (logits.square().mean() + coarse.square().mean()).backward()
    assert all(p.grad is not None for p in net.parameters())


def saved(net: MattingNet, path: Path, **config: object) -> Path:
    header = {"config": {"net": {"widths": list(SMALL.widths), "detail": SMALL.detail}, "size": 64, **config}}
    save_tensors(path, net.state_dict(), header)
    return path


@pytest.mark.parametrize("size", [(1, 1), (50, 40), (3, 400), (64, 64)])
def test_own_matter_answers_in_the_photos_proportions(net: MattingNet, tmp_path: Path, size: tuple[int, int]) -> None:
    matter = OwnMatter(saved(net, tmp_path / "m.safetensors", threshold=0.6))
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    guess = matter(photo)
    longest = max(size)
    assert guess.alpha.shape == tuple(max(1, round(n * 64 / longest)) for n in size)
    assert 0 <= guess.alpha.min() <= guess.alpha.max() <= 1
    assert 0 <= guess.confidence <= 1
    assert matter.threshold == 0.6


def test_own_matter_does_not_care_for_left_and_right(net: MattingNet, tmp_path: Path) -> None:
    matter = OwnMatter(saved(net, tmp_path / "m.safetensors", threshold=0.6))
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    one, other = matter(photo), matter(np.ascontiguousarray(photo[:, ::-1]))
    np.testing.assert_allclose(one.alpha, other.alpha[:, ::-1], atol=1e-5)


def test_weights_without_their_sizes_are_refused(net: MattingNet, tmp_path: Path) -> None:
    with pytest.raises(PackshotError, match="no matting network of this version"):
        OwnMatter(saved(net, tmp_path / "m.safetensors"))


def test_confidence_falls_with_doubt_difference_and_size() -> None:
    sure = np.zeros((60, 60), np.float32)
    sure[20:40, 20:40] = 1
    doubtful = np.where(sure > 0, np.float32(0.7), np.float32(0.1))
    assert certainty(sure) == 1
    assert certainty(doubtful) < 0.5
    assert certainty(np.zeros((3, 3), np.float32)) == 0
    assert agreement(sure, sure) == 1
    assert agreement(sure, np.roll(sure, 10, 1)) == pytest.approx(1 / 3)
    assert agreement(sure * 0, sure * 0) == 0
    assert [plausible(np.full((4, 4), v, np.float32)) for v in (0.001, 0.3, 1.0)] == [0, 1, 0]


def graph(
    path: Path,
    shape: list[object],
    *,
    name: str = "input",
    scale: float = 1.0,
    offset: float = 0.0,
    rank: int = 4,
    kind: int = TensorProto.FLOAT,
    outputs: int = 1,
) -> Path:
    """An ONNX file whose answer is offset + scale * the mean of the channels (or, of rank 2, of everything)."""
    axes = [1] if rank == 4 else [2, 3]
    nodes = [
        helper.make_node("Cast", [name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=axes, keepdims=int(rank == 4)),
        helper.make_node("Mul", ["mean", "scale"], ["scaled"]),
        *(helper.make_node("Add", ["scaled", "offset"], [f"out{i}"]) for i in range(outputs)),
    ]
    answer = [shape[0], 1, *shape[2:]] if rank == 4 else [shape[0], shape[1]]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape)],
        [helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, answer) for i in range(outputs)],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
            helper.make_tensor("offset", TensorProto.FLOAT, [], [offset]),
        ],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def bright_square() -> np.ndarray:
    photo = np.full((80, 60, 3), 40, np.uint8)
    photo[20:60, 15:45] = 230
    return photo


@pytest.mark.parametrize(
    ("kind", "shape", "name", "outputs", "scale", "offset"),
    [
        ("u2net", [1, 3, 320, 320], "input.1", 7, 1, 0),
        ("isnet", [1, 3, 1024, 1024], "input", 1, 1, 0),
        ("birefnet", [1, 3, 1024, 1024], "input_image", 1, 20, 0),
        ("modnet", ["n", 3, "h", "w"], "input", 1, 0.5, 0.5),
    ],
)
def test_published_networks_are_recognised_and_fed_their_way(
    tmp_path: Path, kind: str, shape: list[object], name: str, outputs: int, scale: float, offset: float
) -> None:
    path = graph(tmp_path / "net.onnx", shape, name=name, outputs=outputs, scale=scale, offset=offset)
    matter = ForeignMatter(path)
    assert matter.descriptor == KNOWN[kind]
    alpha = matter(bright_square()).alpha
    assert alpha.shape[0] > alpha.shape[1]  # The photo's proportions, not the network's square.
    middle, corner = alpha[alpha.shape[0] // 2, alpha.shape[1] // 2], alpha[2, 2]
    expected = {"u2net": (1, 0), "isnet": (1, 0), "modnet": (230 / 255, 40 / 255)}
    if kind in expected:
        np.testing.assert_allclose((middle, corner), expected[kind], atol=0.12)  # Lanczos rings.
    assert middle > 0.8
    assert corner < 0.2


def test_a_descriptor_says_how_another_network_is_used(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx", [1, 3, 64, 96], scale=10, offset=-5, outputs=2)
    with pytest.raises(UsageError, match=r"none of u2net.*net\.json"):
        ForeignMatter(path)
    table = {"size": [64, 96], "mean": [0, 0, 0], "std": [1, 1, 1], "output": 1, "sigmoid": True, "threshold": 0.3}
    path.with_suffix(".json").write_text(json.dumps(table))
    matter = ForeignMatter(path)
    assert matter.threshold == 0.3
    middle = matter(bright_square()).alpha
    assert middle[middle.shape[0] // 2, middle.shape[1] // 2] == pytest.approx(
        1 / (1 + np.exp(5 - 2300 / 255)), abs=0.02
    )


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"sizes": 320}, "Did you mean 'size'"),
        ({"size": 5}, "16 to 4096"),
        ({"std": [0, 1, 1]}, "none of std is 0"),
        ([1], "table"),
    ],
)
def test_a_wrong_descriptor_is_one_sentence(tmp_path: Path, table: object, says: str) -> None:
    path = graph(tmp_path / "net.onnx", [1, 3, 64, 64])
    path.with_suffix(".json").write_text(json.dumps(table))
    with pytest.raises(UsageError, match=says):
        ForeignMatter(path)


def test_what_is_no_matting_model_is_one_sentence(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    with pytest.raises(UsageError, match="is no ONNX model that can be run"):
        ForeignMatter(text)
    with pytest.raises(PackshotError, match="no such file"):
        ForeignMatter(tmp_path / "missing.onnx")
    with pytest.raises(UsageError, match="does not take one picture"):
        ForeignMatter(graph(tmp_path / "grey.onnx", [1, 1, 320, 320]))
    with pytest.raises(UsageError, match="does not take one picture"):
        ForeignMatter(graph(tmp_path / "bytes.onnx", [1, 3, 320, 320], kind=TensorProto.UINT8))
    with pytest.raises(UsageError, match="none of its outputs is a picture"):
        ForeignMatter(graph(tmp_path / "classes.onnx", [1, 3, 320, 320], rank=2))


@pytest.mark.parametrize(
    ("scale", "offset", "says"), [(300, 0, r"not in 0 \.\. 1"), (float("nan"), 0, "no numbers"), (0, -4, r"not in 0")]
)
def test_an_answer_that_is_no_matte_is_one_sentence(tmp_path: Path, scale: float, offset: float, says: str) -> None:
    matter = ForeignMatter(graph(tmp_path / "net.onnx", [1, 3, 512, 512], scale=scale, offset=offset))
    with pytest.raises(PackshotError, match=says):
        matter(bright_square())


def test_an_output_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx", [1, 3, 64, 64])
    path.with_suffix(".json").write_text(json.dumps({"size": 64, "output": 3}))
    with pytest.raises(PackshotError, match="1 outputs, and number 3"):
        ForeignMatter(path)(bright_square())
    path.with_suffix(".json").write_text(json.dumps({"size": 96}))
    with pytest.raises(PackshotError, match="it fails on a picture of 96 x 96"):
        ForeignMatter(path)(bright_square())
