"""`latent`: a VAE for the pictures, and a flow for its codes.

The VAE needs only to rebuild photos well (a small `kl_weight`); what its codes are like is learned by a flow (Rombach
et al. 2022, arXiv:2112.10752, with flow matching over flat codes in place of diffusion over maps, for two cores). Both
learn in the same steps: the flow from the codes of each batch, without a gradient back to the encoder (as in the first
stage of Vahdat et al. 2021, arXiv:2106.05931, left apart).
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from packshot.models.flow import CodeFlow
from packshot.models.spec import PictureSpec
from packshot.models.vae.conv import ConvVAE, VAEConfig


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """Sizes of the VAE and of the flow.

    Attributes:
        z_dim: length of a code, and of the z that the flow starts from.
        width: the VAE's channels at half the picture's size.
        label_dim: length of the category's embedding in the VAE.
        flow_width: width of the flow's network.
        flow_blocks: its residual blocks.
        flow_steps: steps from z to a code.
        guidance: how far sampling follows category and condition; 1 is the learned distribution, more is more typical.
        truncation_psi: what z is multiplied with before the flow; 1 is the learned distribution, less is more typical.
    """

    z_dim: int = 128
    width: int = 32
    label_dim: int = 16
    flow_width: int = 384
    flow_blocks: int = 5
    flow_steps: int = 8
    guidance: float = 6.0
    truncation_psi: float = 0.55

    def __post_init__(self) -> None:
        if min(self.z_dim, self.width, self.label_dim, self.flow_width, self.flow_blocks, self.flow_steps) < 1:
            raise ValueError("every size of the network has to be at least 1")
        if not 0 <= self.guidance <= 20:
            raise ValueError("net.guidance has to lie in [0, 20]")
        if not 0 < self.truncation_psi <= 1:
            raise ValueError("net.truncation_psi has to lie in (0, 1]")


class LatentFlow(nn.Module):
    """Encoder, decoder and the flow of the codes."""

    def __init__(self, config: LatentConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.z_dim, self.truncation_psi = config.z_dim, config.truncation_psi
        self.vae = ConvVAE(VAEConfig(z_dim=config.z_dim, width=config.width, label_dim=config.label_dim), spec)
        self.flow = CodeFlow(
            config.z_dim,
            spec.categories,
            groups=spec.conditions,
            width=config.flow_width,
            blocks=config.flow_blocks,
            guidance=config.guidance,
            steps=config.flow_steps,
        )

    def encode(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [N, C, H, W] in [-1, 1] to the posterior's mean and logvar, each [N, z_dim]: of the code."""
        return self.vae.encode(x, label)

    def decode(self, z: Tensor, label: Tensor, cond: Tensor | None = None) -> Tensor:
        """z [N, z_dim] ~ N(0, I) to pictures [N, C, H, W] in [-1, 1], by way of the flow; cond as there."""
        return self.vae.decode(self.flow.sample(self.truncation_psi * z, label, cond), label)

    @property
    def layer_of_codes(self) -> nn.Module:
        """The decoder's first layer, where what the flow makes of z shows first: for directions of z."""
        layer: nn.Module = self.vae.project[0]
        return layer

    def find_z(self, code: Tensor, label: Tensor) -> Tensor:
        """Returns the z [N, z_dim] that `decode` turns, nearly, into the picture of a code [N, z_dim]."""
        return self.flow.invert(code, label) / self.truncation_psi

    def misfit(self, code: Tensor, label: Tensor) -> Tensor:
        """Returns how ill codes [N, z_dim] fit their label [N]: of several labels the least suits best, [N]."""
        return self.flow.misfit(code, label)

    def siblings(self, z: Tensor, noise: Tensor, label: Tensor, variation: float) -> Tensor:
        """Returns pictures [N, C, H, W] like that of z [N, z_dim]: in part its code, the rest drawn by the flow.

        In the flow's own noise no place is near: with guidance a little of it changes the whole product. Its code is
        what keeps it.

        Args:
            z: of the picture that they shall be like.
            noise: ~ N(0, I), [N, z_dim].
            label: int64 [N].
            variation: 0 gives the picture of z, 1 that of `noise`.
        """
        code = self.flow.sample(self.truncation_psi * z, label)
        # The weight that noise has where it is turned: for every model alike.
        share = math.sin(variation * math.pi / 2)
        return self.vae.decode(self.flow.near(code, self.truncation_psi * noise, label, share), label)
