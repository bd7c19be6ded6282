"""sampling/: attributes of pictures, latent directions and their effects, what a discriminator looks at."""

import numpy as np
import torch
from torch import Tensor, nn

from packshot.images.seen import find_object
from packshot.models.spec import PictureSpec
from packshot.models.vae.latent import LatentConfig, LatentFlow
from packshot.sampling.attributes import attribute_names, measure_attributes
from packshot.sampling.directions import _feature_components, find_directions, measure_effect, walk
from packshot.sampling.generator import TrainedGenerator
from packshot.sampling.prior import ClassGaussian
from packshot.sampling.saliency import compute_saliency


def box(
    left: int, right: int, value: int = 200, channels: int = 1, colour: tuple[int, ...] | None = None
) -> np.ndarray:
    image = np.zeros((20, 20, channels), np.uint8)
    image[5:15, left:right] = value if colour is None else colour
    return image


def attributes_of(image: np.ndarray) -> dict[str, float]:
    values = measure_attributes(image[None])[0]
    return dict(zip(attribute_names(image.shape[2]), values, strict=True))


def test_attributes_of_a_box_are_its_own() -> None:
    a = attributes_of(box(6, 14))
    assert (a["width"], a["height"], a["area"]) == (8 / 20, 10 / 20, 80 / 400)
    assert a["brightness"] == 200 * 80 / 400
    assert a["symmetry"] > 0.999
    wide, dark = attributes_of(box(2, 18)), attributes_of(box(6, 14, 100))
    assert wide["width"] == 16 / 20
    assert wide["height"] == a["height"]
    assert dark["width"] == a["width"]
    assert dark["contrast"] < a["contrast"]
    assert attributes_of(box(0, 8))["symmetry"] < 0.2


def test_stripes_are_a_pattern_and_a_blank_picture_is_nothing() -> None:
    striped = box(4, 16)
    striped[5:15:2, 4:16] = 120
    assert attributes_of(striped)["pattern"] > 2 * attributes_of(box(4, 16))["pattern"]
    blank = attributes_of(np.full((20, 20, 1), 90, np.uint8))
    assert (blank["width"], blank["area"], blank["pattern"], blank["symmetry"]) == (0, 0, 0, 1)
    assert not find_object(np.full((1, 20, 20, 1), 90, np.uint8)).any()


def test_colours_have_their_own_axes() -> None:
    red = attributes_of(box(4, 16, channels=3, colour=(200, 0, 0)))
    blue = attributes_of(box(4, 16, channels=3, colour=(0, 0, 200)))
    grey = attributes_of(box(4, 16, channels=3))
    assert red["redness"] > 0 > blue["redness"]
    assert blue["yellowness"] < 0 < red["yellowness"]
    assert grey["saturation"] == grey["redness"] == 0 < red["saturation"]


class Knobs(nn.Module):
    """z[0] sets a box's brightness by a strong weight, z[1] its width by a weak one; the others do nothing."""

    def __init__(self, z_dim: int = 6) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.embed = nn.Embedding(2, 3)
        self.dense = nn.Linear(z_dim + 3, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        with torch.no_grad():
            self.dense.weight.zero_()
            self.dense.weight[0, 0], self.dense.weight[1, 1] = 3.0, 1.0
            self.second.weight.copy_(torch.eye(4))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        h = self.second(torch.tanh(self.dense(torch.cat([z, self.embed(label)], 1)) / 4))
        at = torch.arange(16.0).expand(16, 16)
        half = (4 + 3 * h[:, 1])[:, None, None]
        inside = torch.sigmoid(3 * (half - (at - 7.5).abs())) * ((at.T - 7.5).abs() < 4)
        return ((inside * (0.6 + 0.4 * h[:, 0])[:, None, None]) * 2 - 1)[:, None]


def knobs(prior: bool = False) -> TrainedGenerator:
    gaussian = None
    if prior:
        gaussian = ClassGaussian(2, 6)
        # The weak coordinate varies most: its step is what moves the first layer most.
        gaussian.scale.copy_(torch.diag(torch.tensor([0.1, 5.0, 1.0, 1.0, 1.0, 1.0])))
    network = Knobs().eval().requires_grad_(False)
    return TrainedGenerator(network, "stub", PictureSpec(size=16, channels=1, categories=2), ("a", "b"), 0, gaussian)


def test_factors_are_the_singular_vectors_of_the_first_weight() -> None:
    generator = knobs()
    found = [d for d in find_directions(generator, count=4, n=200, seed=0) if d.method == "factor"]
    weight = generator.network.dense.weight[:, :6].double()
    _, _, expected = torch.linalg.svd(weight)
    assert len(found) == 2
    for direction, vector in zip(found, expected, strict=False):
        assert abs(float(direction.step.double() @ vector)) > 0.9999


def test_with_a_fitted_prior_a_step_is_a_standard_deviation_of_the_codes() -> None:
    found = find_directions(knobs(prior=True), count=3, n=200, seed=0)
    first = found[0]
    assert (first.method, first.number) == ("factor", 1)
    assert torch.allclose(first.step.abs(), torch.tensor([0.0, 5.0, 0.0, 0.0, 0.0, 0.0]), atol=1e-3)
    codes = [d for d in found if d.method == "codes"]
    # The longest axis of the codes is the first factor already.
    assert all(abs(float(d.step[1])) < 0.1 for d in codes)


def test_components_of_the_features_find_what_the_pictures_depend_on() -> None:
    generator = knobs()
    components = _feature_components(generator, 400, seed=0)
    assert abs(float(components[0, 0])) > 0.9
    assert abs(float(components[1, 1])) > 0.9


def test_effects_name_what_a_direction_moves() -> None:
    generator, at = knobs(), (-2.0, -1.0, 0.0, 1.0, 2.0)
    labels = torch.arange(60) % 2
    z = generator.noise(1, 0, 60)
    spread = measure_attributes(generator.pictures(z, labels)).std(0)
    names = attribute_names(1)
    for direction, moved in zip(
        find_directions(generator, count=2, n=200, seed=0)[:2], ("contrast", "width"), strict=True
    ):
        images = walk(generator, direction, z, labels, at)
        assert images.shape == (60, 5, 16, 16, 1)
        assert np.array_equal(images[:, 2], generator.pictures(z, labels))
        values = measure_attributes(images.reshape(-1, 16, 16, 1)).reshape(60, 5, -1)
        effect = measure_effect(values, spread, at, tests=2, name=moved, seed=0)
        assert effect.clear[names.index(moved)]
        assert abs(effect.effect[names.index(moved)]) > 0.3


def test_what_is_chance_is_not_clear() -> None:
    rng = np.random.default_rng(0)
    false_alarms = 0
    for trial in range(40):
        values = rng.normal(size=(60, 5, 7))
        effect = measure_effect(values, np.full(7, 0.2), (-2, -1, 0, 1, 2), tests=1, name=f"{trial}", seed=0)
        false_alarms += int(effect.clear.any())
    # 5 % are allowed: 8 or more of 40 would come less than once in 1,000.
    assert false_alarms < 8
    steady = np.linspace(-2, 2, 5)[None, :, None] * np.ones((200, 5, 1)) + 0.1 * rng.normal(size=(200, 5, 1))
    effect = measure_effect(steady, np.ones(1), (-2, -1, 0, 1, 2), tests=12, name="steady", seed=0)
    assert effect.clear[0]
    assert abs(effect.effect[0] - 1) < 0.05
    small = measure_effect(0.05 * steady, np.ones(1), (-2, -1, 0, 1, 2), tests=12, name="small", seed=0)
    assert not small.clear[0]


def test_saliency_lies_where_the_discriminator_looks() -> None:
    class Corner(nn.Module):
        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            return x[:, :, :8, :8].diff(dim=3).abs().flatten(1).sum(1)

    torch.manual_seed(0)
    x = torch.rand(3, 1, 32, 32) * 2 - 1
    heat = compute_saliency(Corner(), x, torch.zeros(3, dtype=torch.int64))
    assert heat.shape == (3, 32, 32)
    assert heat.min() >= 0
    assert heat[:, :8, :8].mean() > 20 * heat[:, 16:, 16:].mean()


def test_directions_of_a_flow_are_found_where_its_codes_show() -> None:
    torch.manual_seed(0)
    config = LatentConfig(z_dim=8, width=8, flow_width=16, flow_blocks=1, guidance=1.0, flow_steps=4)
    network = LatentFlow(config, PictureSpec(size=32, channels=1, categories=2)).eval().requires_grad_(False)
    # A flow that does nothing but to scale one coordinate of the codes: that is the direction which counts.
    network.flow.leave.weight.zero_()
    network.flow.leave.bias.zero_()
    network.flow.square[:] = 0.01
    network.flow.square[5] = 9.0
    generator = TrainedGenerator(network, "latent", PictureSpec(size=32, channels=1, categories=2), ("Bag", "Boot"), 0)
    strongest = find_directions(generator, count=1, n=200, seed=0)[0].step
    assert strongest[5].abs() > 0.99 * strongest.norm()
    component = _feature_components(generator, 200, 0)[0]
    assert component[5].abs() > 0.9 * component.norm()
