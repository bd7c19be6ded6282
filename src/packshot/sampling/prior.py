"""Priors: what z is drawn from.

A GAN is trained on z ~ N(0, I). A VAE's encoder does not fill N(0, I) exactly: with a small `kl_weight` its codes lie
elsewhere, and decoding N(0, I) gives pictures that the decoder never learned. Fitting the prior to the codes after
training (ex-post density estimation, Ghosh et al. 2020, "From Variational to Deterministic Autoencoders", sec. 4)
closes the gap for a few seconds of work; here one Gaussian a category.

Letters: N pictures, K categories, D = z_dim, n_c photos of a category c.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from packshot.models.ranges import to_model

Encoder = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class ClassGaussian(nn.Module):
    """z = mean[label] + scale[label] @ eps, eps ~ N(0, I): one Gaussian with full covariance for each category.

    Attributes:
        mean: float32 [K, D].
        scale: float32 [K, D, D], lower triangular; scale @ scale^T is the covariance.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, categories: int, z_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(categories, z_dim))
        self.register_buffer("scale", torch.eye(z_dim).repeat(categories, 1, 1))

    def forward(self, eps: Tensor, label: Tensor) -> Tensor:
        """Returns z [N, D] for eps [N, D] and label [N]."""
        return self.mean[label] + torch.einsum("nij,nj->ni", self.scale[label], eps)

    def inverse(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns the eps [N, D] that `forward` turns into z [N, D] for label [N]."""
        centred = (z - self.mean[label])[..., None]
        return torch.linalg.solve_triangular(self.scale[label], centred, upper=False)[..., 0]

    def fit(self, codes: Tensor, label: Tensor) -> None:
        """Sets each category's Gaussian to the mean and covariance of its photos' codes.

        A category with few photos leans on the pooled covariance within categories, with weight D / (n_c + D); one
        with no photo gets the overall mean and the pooled covariance.

        Args:
            codes: posterior means float32 [N, D].
            label: int64 [N].
        """
        codes = codes.double()
        categories, dim = self.mean.shape
        means = torch.stack(
            [codes[label == c].mean(0) if bool((label == c).any()) else codes.mean(0) for c in range(categories)]
        )
        centred = codes - means[label]
        free = len(codes) - len(label.unique())
        if free < 1:
            # One photo a category at most: the spread within categories is unknown, so that between them stands in.
            centred, free = codes - codes.mean(0), max(1, len(codes) - 1)
        pooled = centred.T @ centred / free
        for c in range(categories):
            own, n = codes[label == c] - means[c], int((label == c).sum())
            covariance = pooled
            if n > 1:
                lean = dim / (n + dim)
                covariance = (1 - lean) * own.T @ own / (n - 1) + lean * pooled
            self.mean[c] = means[c].float()
            self.scale[c] = torch.linalg.cholesky(covariance + 1e-6 * torch.eye(dim, dtype=torch.float64)).float()


@torch.inference_mode()
def fit_class_prior(encode: Encoder, images: Tensor, labels: Tensor, *, categories: int, z_dim: int) -> ClassGaussian:
    """Fits the prior to the codes of photos.

    Args:
        encode: (x [n, C, H, W] in [-1, 1], label [n]) -> (mean, logvar), each [n, z_dim].
        images: uint8 [N, H, W, C].
        labels: int64 [N].
        categories: K.
        z_dim: D.
    """
    codes = [encode(to_model(x), y)[0] for x, y in zip(images.split(500), labels.split(500), strict=True)]
    prior = ClassGaussian(categories, z_dim)
    prior.fit(torch.cat(codes).cpu(), labels.cpu())
    return prior.to(images.device).eval()
