"""THE table of models: name, family, sizes, how to build. Nothing registers itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from packshot.core.errors import UsageError, lookup
from packshot.models.gan.dcgan import DCGANConfig, DCGANDiscriminator, DCGANGenerator
from packshot.models.gan.reference import ReferenceConfig, ReferenceDiscriminator, ReferenceGenerator
from packshot.models.spec import PictureSpec
from packshot.models.vae.conv import ConvVAE, VAEConfig


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
    fitted_prior: bool = False


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="dcgan",
            family="gan",
            summary="convolutional GAN, conditional on category; sharper pictures, unstable",
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
    )
}


def find_model(name: str) -> ModelEntry:
    """Returns the table's entry.

    Raises:
        UsageError: no such model; the nearest name is suggested.
    """
    return lookup("model", name, MODELS)


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
            f"Model '{entry.name}' makes pictures of {_list(entry.channels)} channel(s), not {spec.channels}."
        )


def _list(values: tuple[int, ...]) -> str:
    return " or ".join(map(str, values))
