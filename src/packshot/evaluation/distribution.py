"""How far the samples' distribution is from the real photos': Frechet distance and kernel distance of their features.

Letters: x a sample's features, y a photo's, m of n and m of them, d features; mu, S mean and covariance of a set;
T the map that carries one normal distribution to the other.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from packshot.core.random import stream_seed
from packshot.evaluation.features import Features, chunk_rows
from packshot.evaluation.figures import Figure, Floats, bootstrap_interval, count_tag, where_from
from packshot.models.features.net import FeatureNet

Vectors = npt.NDArray[np.floating]
CHUNK = 1000
FD_LEAST = 2048
KID_LEAST = 200
KID_SUBSETS = 50
KID_SUBSET_SIZE = 1000
# Eigenvalues below this share of the whole are rounding: features that are never active, or repeat others.
RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Statistics:
    """Mean float64 [D] and unbiased covariance float64 [D, D] of `count` feature rows."""

    mean: Floats
    covariance: Floats
    count: int


def features_to_statistics(features: Vectors) -> Statistics:
    """Returns the statistics of features [N, D], in float64 and in chunks, mean first.

    Raises:
        ValueError: fewer than 2 rows.
    """
    n, d = features.shape
    if n < 2:
        raise ValueError(f"statistics need at least 2 rows of features, not {n}.")
    mean, scatter = np.zeros(d), np.zeros((d, d))
    for start in range(0, n, CHUNK):
        mean += features[start : start + CHUNK].astype(np.float64).sum(0)
    mean /= n
    for start in range(0, n, CHUNK):
        centred = features[start : start + CHUNK].astype(np.float64) - mean
        scatter += centred.T @ centred
    return Statistics(mean, scatter / (n - 1), n)


def statistics_to_fd(a: Statistics, b: Statistics) -> float:
    """Returns the Frechet distance |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of two normal distributions.

    By symmetric eigenvalues: tr (S_a S_b)^(1/2) is the sum of the roots of the eigenvalues of S_a^(1/2) S_b S_a^(1/2).
    Source: Dowson and Landau 1982, "The Frechet distance between multivariate normal distributions".
    """
    root = _matrix_power(a.covariance, 0.5, 0.0)
    shared = np.sqrt(np.linalg.eigvalsh(root @ b.covariance @ root).clip(0)).sum()
    gap = a.mean - b.mean
    return float(gap @ gap + np.trace(a.covariance) + np.trace(b.covariance) - 2 * shared)


def fd_influences(fake: Vectors, real: Vectors) -> tuple[Floats, Floats]:
    """Returns the influence of each sample and of each photo on their Frechet distance, float64 [n] and [m].

    d FD / d mu_x = 2 (mu_x - mu_y) and d FD / d S_x = 1 - T, where T = S_y^(1/2) (S_y^(1/2) S_x S_y^(1/2))^(-1/2)
    S_y^(1/2) carries the samples' distribution to the photos'; for the photos the same with T^(-1).
    Source: Rippl, Munk and Sturm 2016, "Limit laws of the empirical Wasserstein distance: Gaussian distributions".
    """
    x, y = features_to_statistics(fake), features_to_statistics(real)
    scale = float(np.trace(y.covariance))
    root, inverse_root = _matrix_power(y.covariance, 0.5, scale), _matrix_power(y.covariance, -0.5, scale)
    middle = root @ x.covariance @ root
    to_real = root @ _matrix_power(middle, -0.5, scale**2) @ root
    to_fake = inverse_root @ _matrix_power(middle, 0.5, scale**2) @ inverse_root
    return _fd_influence(fake, x, y, to_real), _fd_influence(real, y, x, to_fake)


def _fd_influence(rows: Vectors, own: Statistics, other: Statistics, transport: Floats) -> Floats:
    slope, gap = np.eye(len(transport)) - transport, 2 * (own.mean - other.mean)
    out: Floats = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        centred = rows[start : start + CHUNK].astype(np.float64) - own.mean
        out[start : start + CHUNK] = np.einsum("nd,nd->n", centred @ slope, centred) + centred @ gap
    out -= out.mean()
    return out


def _matrix_power(symmetric: Floats, power: float, scale: float) -> Floats:
    """Returns a power of a positive semidefinite matrix; directions with no more than rounding of `scale` stay at 0."""
    values, vectors = np.linalg.eigh(symmetric)
    kept = values > scale * RANK_TOLERANCE
    scaled = vectors[:, kept] * values[kept] ** power
    return np.asarray(scaled @ vectors[:, kept].T)


def compute_fd(fake: Features, real: Features, net: FeatureNet, *, seed: int) -> Figure:
    """Returns the figure `fd_NET_N`: the Frechet distance of features [n, D] and [m, D], by torchmetrics in float64.

    Source: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule ...". With fewer pictures than features
    the covariances are singular and the distance says little, so less than max(2048, D + 1) of either gives no value.
    """
    n, m, least = len(fake), len(real), max(FD_LEAST, net.dim + 1)
    name = f"{net.distance}_{net.name}_{count_tag(n)}"
    figure = Figure(
        name=name,
        n=n,
        n_real=m,
        seed=seed,
        meaning="Distance between samples and test photos; lower is better, and it falls as n grows.",
        protocol=f"Frechet distance, {net.protocol} features ({net.source}), float64, {n:,} samples, {m:,} test photos",
        warning=f"{name} needs at least {least:,} samples and as many test photos; there are {n:,} and {m:,}. "
        + (
            f"Read kid_{net.name} instead, which is sound from a few hundred."
            if min(n, m) >= KID_LEAST
            else where_from(n, m, KID_LEAST)
        ),
    )
    if min(n, m) < least:
        return figure
    value = torchmetrics_fd(fake, real)
    low, high = bootstrap_interval(value, fd_influences(fake, real), seed, name)
    return figure.measured(value, (max(0.0, low), high))


class PassThrough(nn.Module):
    """What torchmetrics takes for its feature net: hands on features that are computed already."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        """Returns `features` [N, D]."""
        return features


def torchmetrics_fd(fake: Vectors, real: Vectors) -> float:
    """Returns the Frechet distance by `torchmetrics.image.fid`, fed in chunks of float64."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    # Not summed over ranks: while several train, only the first one measures.
    metric = FrechetInceptionDistance(feature=PassThrough(fake.shape[1]), sync_on_compute=False)
    metric.set_dtype(torch.float64)
    for rows, is_real in ((real, True), (fake, False)):
        for start in range(0, len(rows), CHUNK):
            metric.update(_float64(rows[start : start + CHUNK]), real=is_real)
    # Of two equal sets torchmetrics can return a rounding error below 0.
    return max(0.0, float(metric.compute()))


def torchmetrics_kid(fake: Vectors, real: Vectors, *, subsets: int, subset_size: int, seed: int) -> tuple[float, float]:
    """Returns mean and standard deviation over the subsets, by `torchmetrics.image.kid` in float64.

    torchmetrics draws its subsets from torch's global random stream; that stream is left as it was.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Metric `Kernel Inception Distance` will save all extracted features")
        metric = KernelInceptionDistance(
            feature=PassThrough(fake.shape[1]), subsets=subsets, subset_size=subset_size, sync_on_compute=False
        )
    metric.set_dtype(torch.float64)
    metric.update(_float64(real), real=True)
    metric.update(_float64(fake), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "kid subsets"))
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def compute_kid(fake: Features, real: Features, net: FeatureNet, *, seed: int) -> Figure:
    """Returns the figure `kid_NET`: the squared maximum mean discrepancy of features [n, D] and [m, D] by torchmetrics.

    Kernel (x.y / D + 1)^3, the mean of 50 subsets of 1,000 pictures (fewer where there are fewer). Unbiased: for equal
    distributions it is 0 on average, and may be negative. Source: Binkowski et al. 2018, "Demystifying MMD GANs".
    """
    n, m = len(fake), len(real)
    name, size = f"kid_{net.name}", min(KID_SUBSET_SIZE, n, m)
    figure = Figure(
        name=name,
        n=n,
        n_real=m,
        seed=seed,
        meaning="Distance between samples and test photos; lower is better, 0 is the same, whatever n is.",
        protocol=f"squared MMD, kernel (x.y/{net.dim} + 1)^3, {net.protocol} features ({net.source}), float64, mean of "
        f"{KID_SUBSETS} subsets of {size:,}, {n:,} samples, {m:,} test photos",
        warning=f"{name} needs at least {KID_LEAST} samples and as many test photos; there are {n:,} and {m:,}. "
        + where_from(n, m, KID_LEAST),
    )
    if min(n, m) < KID_LEAST:
        return figure
    value, deviation = torchmetrics_kid(fake, real, subsets=KID_SUBSETS, subset_size=size, seed=seed)
    # The mean of these varies as the mean of the subsets does: the chance in drawing them.
    subset_noise = deviation * np.resize(np.array([-1.0, 1.0]), KID_SUBSETS)
    return figure.measured(value, bootstrap_interval(value, [*kid_influences(fake, real), subset_noise], seed, name))


def kid_influences(fake: Vectors, real: Vectors) -> tuple[Floats, Floats]:
    """Returns the influence of each sample and photo on their squared MMD, float64 [n] and [m].

    2 (mean of k(x, x') - mean of k(x, y)): the first-order projection of the U-statistic, by Serfling 1980,
    "Approximation Theorems of Mathematical Statistics", ch. 5. The kernels in float32: they feed only the interval.
    """
    x, y = (torch.from_numpy(np.array(rows, np.float32)) for rows in (fake, real))
    out = []
    for own, other in ((x, y), (y, x)):
        n = len(own)
        itself = _cubic((own * own).sum(1), own.shape[1]).double().numpy()
        mean_own = (n * _mean_kernel(own, own) - itself) / (n - 1)
        out.append(2 * (mean_own - _mean_kernel(own, other)))
    return out[0], out[1]


def _mean_kernel(rows: Tensor, others: Tensor) -> Floats:
    """Returns the mean over `others` [m, D] of the kernel with each row [n, D], float64 [n]."""
    parts = [_cubic(part @ others.T, rows.shape[1]).mean(1) for part in torch.split(rows, chunk_rows(len(others)))]
    return torch.cat(parts).double().numpy()


def _cubic(products: Tensor, dim: int) -> Tensor:
    return products.div(dim).add_(1).pow_(3)


def _float64(rows: Vectors) -> Tensor:
    return torch.from_numpy(np.array(rows, np.float64))
