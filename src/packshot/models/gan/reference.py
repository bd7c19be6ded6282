"""`gan-reference`: the small published 28x28 network, repaired.

As published, the generator's two stride-2 convolutions were plain ones, which shrink 7x7 to 2x2, so it never ran;
here they are transposed. Conditioning follows Mirza & Osindero, "Conditional Generative Adversarial Nets" (2014): the
one-hot category joins z in the generator, and stands as constant planes beside the picture in the discriminator.

Letters: N pictures, K categories, z prior sample.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.models.spec import PictureSpec


@dataclass(frozen=True, kw_only=True)
class ReferenceConfig:
    """The published sizes.

    Attributes:
        z_dim: length of the prior sample z.
        g_width: channels of the generator's hidden layers.
        d_width: channels of the discriminator's first layer; its second has twice as many.
    """

    z_dim: int = 100
    g_width: int = 128
    d_width: int = 64

    def __post_init__(self) -> None:
        if min(self.z_dim, self.g_width, self.d_width) < 1:
            raise ValueError("every size of the network has to be at least 1")


class ReferenceGenerator(nn.Module):
    """z [N, z_dim] float32 ~ N(0, I) and label [N] int64 to pictures [N, 1, 28, 28] in [-1, 1]."""

    def __init__(self, config: ReferenceConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.z_dim, self.categories, self.width = config.z_dim, spec.categories, config.g_width
        self.dense = nn.Linear(config.z_dim + spec.categories, 7 * 7 * config.g_width)
        self.up1 = nn.ConvTranspose2d(config.g_width, config.g_width, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(config.g_width, spec.channels, 4, stride=2, padding=1)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns pictures [N, 1, 28, 28] in [-1, 1]."""
        h = torch.cat([z, F.one_hot(label, self.categories).to(z.dtype)], dim=1)
        h = F.relu(self.dense(h)).view(-1, self.width, 7, 7).contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.up2(F.relu(self.up1(h))))


class ReferenceDiscriminator(nn.Module):
    """Pictures [N, 1, 28, 28] in [-1, 1] and label [N] to logits [N]; sigmoid(logit) = probability of being real."""

    def __init__(self, config: ReferenceConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.categories = spec.categories
        self.conv1 = nn.Conv2d(spec.channels + spec.categories, config.d_width, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(config.d_width, 2 * config.d_width, 3, stride=2, padding=1)
        self.dense = nn.Linear(2 * config.d_width * 7 * 7, 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Returns logits [N]."""
        return self.dense(self.features(x, label))[:, 0]

    def features(self, x: Tensor, label: Tensor) -> Tensor:
        """Returns what comes before the last linear layer, [N, F]; the category is a part of this network's input."""
        planes = F.one_hot(label, self.categories).to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        h = torch.cat([x, planes], dim=1).contiguous(memory_format=torch.channels_last)
        h = F.leaky_relu(self.conv1(h), 0.2)
        return F.leaky_relu(self.conv2(h), 0.2).flatten(1)
