"""`vae-gan`: the VAE of conv.py, whose decoder also meets the discriminator of dcgan.py.

Larsen et al., "Autoencoding beyond pixels using a learned similarity metric" (2016, arXiv:1512.09300).
"""

from dataclasses import dataclass

from packshot.models.gan.dcgan import DCGANConfig, DCGANDiscriminator
from packshot.models.spec import PictureSpec
from packshot.models.vae.conv import ConvVAE, VAEConfig


@dataclass(frozen=True, kw_only=True)
class VAEGANConfig(VAEConfig):
    """Sizes of the VAE, and of its discriminator.

    Attributes:
        d_width: discriminator's channels at half the picture's size; they double at every halving down to 4x4.
    """

    d_width: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_width < 1:
            raise ValueError("every size of the network has to be at least 1")


def build_vae(config: VAEGANConfig, spec: PictureSpec) -> ConvVAE:
    """Returns encoder and decoder."""
    return ConvVAE(config, spec)


def build_discriminator(config: VAEGANConfig, spec: PictureSpec) -> DCGANDiscriminator:
    """Returns the discriminator; without batch norm, so that its features compare picture by picture."""
    return DCGANDiscriminator(DCGANConfig(d_width=config.d_width, d_norm=False), spec)
