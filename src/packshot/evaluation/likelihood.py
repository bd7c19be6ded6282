"""Bits per dimension of test photos under a VAE, by importance sampling.

The density. Given z and label, every value x_d of a picture (in [-1, 1]) is N(x_hat_d(z, label), s^2), with one s for
all of them. Training minimises 1/2 sum (x - x_hat)^2 + kl_weight KL, which is the bound of this model for
s^2 = kl_weight, divided by that constant; the figure uses the s^2 that fits best instead, the mean squared error of
reconstructions of training photos (`decoder_variance`), so that it does not reward or punish the choice of kl_weight.
z has the density that pictures are drawn with: N(0, I), or the fitted Gaussian of the category.

8 bits. A photo has the 256 values v = 0 .. 255, at x = v / 127.5 - 1, each 2/255 apart. The probability of v is that
of the Gaussian between its two edges, x - 1/255 and x + 1/255; 0 and 255 take all that lies below or above (Ho et al.
2020, arXiv:2006.11239, eq. 13). So the figure is about the uint8 picture itself. Nothing is dequantised: no noise is
added, and no bound is lost by it. For a smooth density this is the density in [-1, 1] times 2/255, the change of
variables to steps of 1 in [0, 255].

Letters: N photos, S side, C channels, d one value of a picture, D = S * S * C values, L importance samples,
w importance weight, s standard deviation of the decoder.
"""

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from packshot.core.random import stream_seed
from packshot.core.shapes import check_shape
from packshot.evaluation.features import Pixels
from packshot.evaluation.figures import Figure, bootstrap_interval
from packshot.models.ranges import to_model
from packshot.models.threads import one_thread
from packshot.sampling.prior import ClassGaussian

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
HALF_STEP = 1 / 255
# Of the figure: other photos differ more than other samples do, so photos are the better use of the time.
PHOTOS, SAMPLES = 200, 32
VARIANCE_PHOTOS = 1000
LEAST_PHOTOS = 30
BATCH = 512


class Autoencoder(Protocol):
    """A VAE: `ConvVAE`, `HierarchicalVAE`, or anything alike."""

    z_dim: int

    def __call__(self, x: Tensor, label: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures to x_hat, mean and logvar, for z = mean + exp(logvar / 2) * eps, under whose prior z ~ N(0, I)."""


def log_probability(images: Tensor, x_hat: Tensor, variance: float) -> Tensor:
    """Returns the log probability, in nats, of each 8-bit value given its Gaussian: float64, the shape of x_hat.

    Args:
        images: uint8 values as float64, the shape of x_hat.
        x_hat: means in [-1, 1].
        variance: s^2.
    """
    off = images / 127.5 - 1 - x_hat.double()
    # By symmetry the value may be put below the mean, where log_ndtr keeps its precision: P = Phi(high) - Phi(low).
    s, below = math.sqrt(variance), -off.abs()
    high, low = torch.special.log_ndtr((below + HALF_STEP) / s), torch.special.log_ndtr((below - HALF_STEP) / s)
    inside: Tensor = high + torch.log(-torch.expm1(low - high))
    for end, sign in ((images == 0, 1.0), (images == 255, -1.0)):
        inside[end] = torch.special.log_ndtr((sign * off[end] + HALF_STEP) / s)
    return inside


@torch.inference_mode()
def decoder_variance(network: Autoencoder, images: Pixels, labels: Labels, *, margin: int = 0, seed: int) -> float:
    """Returns the best s^2: the mean of (x - x_hat)^2 over reconstructions of training photos, z from the posterior.

    It maximises the mean log density given z. At least the square of half a step, for a network that is always right.

    Args:
        network: in evaluation mode.
        images: uint8 [N, S, S, C], with their margin.
        labels: int64 [N].
        margin: black pixels on each side that do not count.
        seed: of the posterior's samples.
    """
    total, count = 0.0, 0
    for start in range(0, len(images), BATCH):
        x = to_model(torch.from_numpy(np.array(images[start : start + BATCH])))
        label = torch.from_numpy(np.array(labels[start : start + BATCH]))
        generator = torch.Generator().manual_seed(stream_seed(seed, "decoder variance", start))
        x_hat, _, _ = network(x, label, torch.randn(len(x), network.z_dim, generator=generator))
        error = _inner(x - x_hat, margin).double()
        total, count = total + float(error.square().sum()), count + error.numel()
    return max(total / count, HALF_STEP**2)


@torch.inference_mode()
def compute_bits_per_dim(
    network: Autoencoder,
    images: Pixels,
    labels: Labels,
    *,
    importance_samples: int = 64,
    seed: int,
    variance: float = 1.0,
    prior: ClassGaussian | None = None,
    margin: int = 0,
) -> Floats:
    """Returns the bits per dimension of each photo, float64 [N]: -log2 p(photo | label) / D.

    log p is estimated by log(1/L sum_l w_l), w = p(x | z) p(z) / q(z | x), z ~ q. Its mean is at most log p, and rises
    to it with L: the bits are, on average, an upper bound. Source: Burda et al. 2016, arXiv:1509.00519, eq. 8.

    The module's opening says what p(x | z) is and how 8-bit values are treated.

    Args:
        network: in evaluation mode.
        images: uint8 [N, S, S, C], with the margin that the network was trained with.
        labels: int64 [N].
        importance_samples: L.
        seed: of the posterior's samples.
        variance: s^2 of the decoder; 1 is the Gaussian of unit variance of the training loss.
        prior: density of z; None: N(0, I).
        margin: black pixels on each side that do not count. Given z all values are independent, so leaving some out
            gives the exact marginal of the others.
    """
    check_shape("labels", labels, "N", N=check_shape("images", images, "N", "S", "S", "C")["N"])
    bits = np.empty(len(images))
    with one_thread():
        for i in range(len(images)):
            photo = torch.from_numpy(np.array(images[i : i + 1]))
            label = torch.full((importance_samples,), int(labels[i]))
            x = to_model(photo).expand(importance_samples, -1, -1, -1)
            generator = torch.Generator().manual_seed(stream_seed(seed, "importance", i))
            eps = torch.randn(importance_samples, network.z_dim, generator=generator)
            x_hat, mean, logvar = network(x.contiguous(memory_format=torch.channels_last), label, eps)
            values = _inner(photo.permute(0, 3, 1, 2), margin).double()
            x_hat = _inner(x_hat, margin)
            data = log_probability(values.expand_as(x_hat), x_hat, variance).flatten(1)
            mean, logvar, eps = mean.double(), logvar.double(), eps.double()
            z = mean + torch.exp(0.5 * logvar) * eps
            # Both densities lack the same factor (2 pi)^(-z_dim / 2).
            posterior = -0.5 * (eps.square() + logvar).sum(1)
            log_w = data.sum(1) + _log_prior(z, label, prior) - posterior
            log_p = torch.logsumexp(log_w, 0) - math.log(importance_samples)
            bits[i] = -float(log_p) / math.log(2) / data.shape[1]
    return bits


def _inner(x: Tensor, margin: int) -> Tensor:
    return x[:, :, margin : x.shape[2] - margin, margin : x.shape[3] - margin]


def _log_prior(z: Tensor, label: Tensor, prior: ClassGaussian | None) -> Tensor:
    """Log density of z float64 [N, z_dim], without the factor (2 pi)^(-z_dim / 2)."""
    if prior is None:
        return -0.5 * z.square().sum(1)
    eps = prior.inverse(z.float(), label).double()
    log_det: Tensor = torch.diagonal(prior.scale[label], dim1=1, dim2=2).double().log().sum(1)
    return -0.5 * eps.square().sum(1) - log_det


def bits_per_dim_figure(
    network: Autoencoder,
    train: tuple[Pixels, Labels],
    test: tuple[Pixels, Labels],
    *,
    prior: ClassGaussian | None,
    margin: int,
    seed: int,
) -> Figure:
    """Returns the figure `bits_per_dim_iw32` of at most 200 test photos, drawn always alike.

    Args:
        network: in evaluation mode.
        train: uint8 [N, S, S, C] and int64 [N]; at most 1,000 of them give the decoder's variance.
        test: the same of the test split.
        prior: density of z; None: N(0, I).
        margin: black pixels on each side, which do not count.
        seed: of the posterior's samples and of the interval.
    """
    name = f"bits_per_dim_iw{SAMPLES}"
    chosen_train, chosen = (_chosen(len(labels), n) for (_, labels), n in ((train, VARIANCE_PHOTOS), (test, PHOTOS)))
    with one_thread():
        variance = decoder_variance(network, train[0][chosen_train], train[1][chosen_train], margin=margin, seed=seed)
    n, density = len(chosen), "N(0, I)" if prior is None else "the fitted Gaussian of its category"
    figure = Figure(
        name=name,
        n=n,
        n_real=n,
        seed=seed,
        meaning="Bits that the model needs for each value of an unseen photo; 8 is no knowledge, less is better.",
        protocol=f"importance-weighted bound with {SAMPLES} samples (Burda et al. 2016, eq. 8) of {n} test "
        f"photos without their margin; decoder Gaussian with variance {variance:.5f} in [-1, 1], the mean squared "
        f"error on {len(chosen_train)} training photos, summed over each 8-bit step; z from {density}",
        warning=f"{name} needs at least {LEAST_PHOTOS} test photos; there are {n}.",
    )
    if n < LEAST_PHOTOS:
        return figure
    bits = compute_bits_per_dim(
        network,
        test[0][chosen],
        test[1][chosen],
        importance_samples=SAMPLES,
        seed=seed,
        variance=variance,
        prior=prior,
        margin=margin,
    )
    value = float(bits.mean())
    return figure.measured(value, bootstrap_interval(value, [bits], seed, name))


def _chosen(count: int, most: int) -> npt.NDArray[np.int64]:
    return np.sort(np.random.default_rng(stream_seed(0, "likelihood photos")).permutation(count)[:most])
