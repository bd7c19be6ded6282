"""THE table of models: name, family, sizes, how to build. Nothing registers itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from packshot.core.errors import UsageError, lookup
from packshot.models.gan.dcgan import DCGANConfig, DCGANDiscriminator, DCGANGenerator
from packshot.models.gan.mlp import MLPConfig, MLPDiscriminator, MLPGenerator
from packshot.models.gan.projected import ProjectedConfig, ProjectedDiscriminator, ProjectedGenerator
from packshot.models.gan.r3gan import R3GANConfig, R3GANDiscriminator, R3GANGenerator
from packshot.models.gan.reference import ReferenceConfig, ReferenceDiscriminator, ReferenceGenerator
from packshot.models.gan.stylegan2 import StyleGAN2Config, StyleGAN2Discriminator, StyleGAN2Generator
from packshot.models.gan.wgan import WGANConfig, WGANDiscriminator, WGANGenerator
from packshot.models.spec import PictureSpec
from packshot.models.text.clip import ClipConfig, ClipNet
from packshot.models.vae.adversarial import VAEGANConfig, build_discriminator, build_vae
from packshot.models.vae.conv import ConvVAE, VAEConfig
from packshot.models.vae.hierarchical import HierarchicalVAE, HVAEConfig
from packshot.models.vae.latent import LatentConfig, LatentFlow
from packshot.models.vae.vq import VQVAE, VQVAEConfig


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One architecture.

    Attributes:
        name: as on the command line.
        family: its training step (`training.run.STEPS`) and settings (`training.config.OBJECTIVES`).
        summary: one line for a person.
        source: the published description that it follows.
        sizes: picture sizes that it can make, in pixels.
        channels: 1 grey, 3 RGB.
        config: the dataclass of its sizes.
        networks: role ("generator", "discriminator", "vae") to a constructor (config, spec) -> module.
        sampler: the role that makes pictures, of which the average (EMA) is kept. It has `z_dim`, and its
            `decode(z, label)`, or `forward(z, label)`, turns z [N, z_dim] into pictures [N, C, H, W] in [-1, 1].
        conditions: it takes attributes and texts (`models.conditions`) besides the category.
        makes: "pictures", or "embeddings" of pictures and texts: then nothing can be sampled, and `sampler` is the
            role of the network that embeds.
        fitted_prior: z is drawn from Gaussians fitted to the codes of photos after training; else from N(0, I).
    """

    name: str
    family: str
    summary: str
    source: str
    sizes: tuple[int, ...]
    channels: tuple[int, ...]
    config: type[Any]
    networks: dict[str, Callable[[Any, PictureSpec], nn.Module]]
    sampler: str
    conditions: bool = False
    makes: Literal["pictures", "embeddings"] = "pictures"
    fitted_prior: bool = False


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="dcgan",
            family="gan",
            summary="convolutional GAN, conditional on category; sharp at 32 px in minutes, weak at 64 px",
            source="Radford et al. 2015, arXiv:1511.06434",
            sizes=(32, 64),
            channels=(1, 3),
            config=DCGANConfig,
            networks={"generator": DCGANGenerator, "discriminator": DCGANDiscriminator},
            sampler="generator",
        ),
        ModelEntry(
            name="gan-reference",
            family="gan",
            summary="the small published 28x28 grey GAN, repaired; a yardstick, not a recommendation",
            source="docs/method.md",
            sizes=(28,),
            channels=(1,),
            config=ReferenceConfig,
            networks={"generator": ReferenceGenerator, "discriminator": ReferenceDiscriminator},
            sampler="generator",
        ),
        ModelEntry(
            name="latent",
            family="latent",
            summary="VAE and a flow of its codes, with guidance; conditional, also on attributes and text",
            source="Rombach et al. 2022, arXiv:2112.10752; Lipman et al. 2023, arXiv:2210.02747",
            sizes=(32, 64),
            channels=(1, 3),
            config=LatentConfig,
            networks={"latent": LatentFlow},
            sampler="latent",
            conditions=True,
        ),
        ModelEntry(
            name="gan-mlp",
            family="gan",
            summary="the first GAN, fully connected, conditional on category; quick, coarse pictures",
            source="Goodfellow et al. 2014, arXiv:1406.2661",
            sizes=(32, 64),
            channels=(1, 3),
            config=MLPConfig,
            networks={"generator": MLPGenerator, "discriminator": MLPDiscriminator},
            sampler="generator",
        ),
        ModelEntry(
            name="wgan-gp",
            family="gan",
            summary="residual GAN with the Wasserstein loss and gradient penalty, conditional; steady, slow",
            source="Gulrajani et al. 2017, arXiv:1704.00028",
            sizes=(32, 64),
            channels=(1, 3),
            config=WGANConfig,
            networks={"generator": WGANGenerator, "discriminator": WGANDiscriminator},
            sampler="generator",
        ),
        ModelEntry(
            name="r3gan",
            family="gan",
            summary="residual GAN without normalisation, relativistic loss with R1 and R2, conditional; stable",
            source="Huang et al. 2024, arXiv:2501.05441",
            sizes=(32, 64),
            channels=(1, 3),
            config=R3GANConfig,
            networks={"generator": R3GANGenerator, "discriminator": R3GANDiscriminator},
            sampler="generator",
        ),
        ModelEntry(
            name="stylegan2",
            family="gan",
            summary="StyleGAN2 at widths for a CPU: styles to mix and to truncate; needs minutes to become good",
            source="Karras et al. 2020, arXiv:1912.04958",
            sizes=(32, 64),
            channels=(1, 3),
            config=StyleGAN2Config,
            networks={"generator": StyleGAN2Generator, "discriminator": StyleGAN2Discriminator},
            sampler="generator",
        ),
        ModelEntry(
            name="projected",
            family="gan",
            summary="Projected GAN: discriminators on a frozen ImageNet network's features; for few photos",
            source="Sauer et al. 2021, arXiv:2111.01007",
            sizes=(32, 64),
            channels=(1, 3),
            config=ProjectedConfig,
            networks={"generator": ProjectedGenerator, "discriminator": ProjectedDiscriminator},
            sampler="generator",
        ),
        ModelEntry(
            name="vae",
            family="vae",
            summary="convolutional VAE, conditional on category; stable, softer pictures; the default",
            source="Kingma & Welling 2013, arXiv:1312.6114",
            sizes=(32, 64),
            channels=(1, 3),
            config=VAEConfig,
            networks={"vae": ConvVAE},
            sampler="vae",
            fitted_prior=True,
        ),
        ModelEntry(
            name="vae-gan",
            family="vae-gan",
            summary="VAE whose decoder also meets a discriminator; conditional",
            source="Larsen et al. 2016, arXiv:1512.09300",
            sizes=(32, 64),
            channels=(1, 3),
            config=VAEGANConfig,
            networks={"vae": build_vae, "discriminator": build_discriminator},
            sampler="vae",
            fitted_prior=True,
        ),
        ModelEntry(
            name="vq-vae",
            family="vq-vae",
            summary="pictures as 8x8 codes of a learned codebook, written by a small transformer; conditional",
            source="van den Oord et al. 2017, arXiv:1711.00937",
            sizes=(32, 64),
            channels=(1, 3),
            config=VQVAEConfig,
            networks={"vq": VQVAE},
            sampler="vq",
        ),
        ModelEntry(
            name="hvae",
            family="vae",
            summary="hierarchical VAE, latents at 1x1, 4x4 and 8x8 with a learned prior; conditional",
            source="Sonderby et al. 2016, arXiv:1602.02282; Child 2021, arXiv:2011.10650",
            sizes=(32, 64),
            channels=(1, 3),
            config=HVAEConfig,
            networks={"vae": HierarchicalVAE},
            sampler="vae",
        ),
        ModelEntry(
            name="clip",
            family="clip",
            summary="pictures and texts as vectors that lie near each other, for search and text prompts; no pictures",
            source="Radford et al. 2021, arXiv:2103.00020",
            sizes=(32, 64),
            channels=(1, 3),
            config=ClipConfig,
            networks={"clip": ClipNet},
            sampler="clip",
            makes="embeddings",
        ),
    )
}
PICTURE_MODELS = {name: entry for name, entry in MODELS.items() if entry.makes == "pictures"}
"""Those of them that can be sampled."""


def find_model(name: str) -> ModelEntry:
    """Returns the table's entry.

    Raises:
        UsageError: no such model; the nearest name is suggested.
    """
    return lookup("model", name, MODELS)


def weight_shapes(entry: ModelEntry, net: Any, spec: PictureSpec) -> dict[str, torch.Size]:
    """Returns the shape of every weight of a model, by "role/name"; no memory is taken for the weights.

    Raises:
        UsageError: a weight would have more than 2^63 bytes.
    """
    try:
        with torch.device("meta"):
            networks = {role: build(net, spec) for role, build in entry.networks.items()}
    except (RuntimeError, TypeError, OverflowError) as e:  # What torch makes of such sizes.
        raise UsageError(f"A network of model '{entry.name}' cannot be that large; make net.* smaller.") from e
    return {f"{role}/{name}": t.shape for role, n in networks.items() for name, t in n.state_dict().items()}


def weight_bytes(entry: ModelEntry, net: Any, spec: PictureSpec) -> int:
    """Returns how many bytes the weights of a model take as float32."""
    return 4 * sum(shape.numel() for shape in weight_shapes(entry, net, spec).values())


def check_spec(entry: ModelEntry, spec: PictureSpec) -> None:
    """Refuses a picture size or channel count that the model cannot make.

    Raises:
        UsageError: with the sizes that it can.
    """
    if spec.size not in entry.sizes:
        raise UsageError(
            f"Model '{entry.name}' makes {_list(entry.sizes)} px pictures, not {spec.size}; choose with --size."
        )
    if spec.channels not in entry.channels:
        raise UsageError(
            f"Model '{entry.name}' makes pictures of {_list(entry.channels)} channel(s), not {spec.channels}; "
            f"choose with --set data.channels={entry.channels[0]}."
        )


def _list(values: tuple[int, ...]) -> str:
    return " or ".join(map(str, values))
