"""THE table of competitors: Packshot's models and recipes, and the peers, with what exactly each of them is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.peers.learner import Learner, Task
from packshot.core.errors import lookup

RECIPES = Path(__file__).parents[2] / "recipes"


@dataclass(frozen=True, kw_only=True)
class Competitor:
    """One line of the benchmark.

    Attributes:
        name: as on the command line and in the table.
        what: package and version, or the paper.
        peer: not of Packshot's making.
        conditional: a category can be asked for; else its agreement is not measured.
        sizes: picture sizes that it can make, in pixels.
        along: its settings do not depend on the budget, so one process is measured at every budget along the way;
            else each budget is a run of its own.
        build: makes the peer's learner; None: trained by packshot.training.
        distribution: the installed package that it needs.
    """

    name: str
    what: str
    peer: bool
    conditional: bool
    sizes: tuple[int, ...]
    along: bool = False
    build: Callable[[Task], Learner] | None = None
    distribution: str | None = None


def _sngan(narrow: bool, task: Task) -> Learner:
    from benchmarks.peers import mimicry

    return mimicry.build_sngan(task, narrow=narrow)


def _cgan_pd(narrow: bool, task: Task) -> Learner:
    from benchmarks.peers import mimicry

    return mimicry.build_cgan_pd(task, narrow=narrow)


def _pythae(kind: str, task: Task) -> Learner:
    from benchmarks.peers import pythae_models

    return getattr(pythae_models, f"build_{kind}")(task)


def _dcgan(task: Task) -> Learner:
    from benchmarks.peers import dcgan_paper

    return dcgan_paper.build(task)


def _mimicry(name: str, net: str, conditional: bool, sizes: tuple[int, ...], narrow: bool) -> Competitor:
    return Competitor(
        name=f"mimicry-{name}" + ("-narrow" if narrow else ""),
        what=f"torch-mimicry 0.1.16, {net}, " + ("a quarter and a half of its widths" if narrow else "its widths"),
        peer=True,
        conditional=conditional,
        sizes=sizes,
        build=partial(_cgan_pd if conditional else _sngan, narrow),
        distribution="torch-mimicry",
    )


PEERS = (
    Competitor(
        name="gan-reference",
        what="the small published 28x28 GAN, repaired and conditional; trained by packshot.training",
        peer=True,
        conditional=True,
        sizes=(28,),
    ),
    Competitor(
        name="dcgan-paper",
        what="written from Radford et al. 2015 with its widths",
        peer=True,
        conditional=False,
        sizes=(32, 64),
        along=True,
        build=_dcgan,
    ),
    _mimicry("sngan", "SNGAN", False, (32, 64), narrow=False),
    _mimicry("sngan", "SNGAN", False, (32, 64), narrow=True),
    _mimicry("cgan-pd", "cGAN-PD", True, (32,), narrow=False),
    _mimicry("cgan-pd", "cGAN-PD", True, (32,), narrow=True),
    *(
        Competitor(
            name=f"pythae-{kind}",
            what=f"pythae 0.1.2, {title}",
            peer=True,
            conditional=False,
            sizes=(28, 64),
            along=along,
            build=partial(_pythae, kind.replace("-", "_")),
            distribution="pythae",
        )
        for kind, title, along in (
            ("vae", "VAE, Gaussian mixture of codes", True),
            ("vae-gan", "VAE-GAN, Gaussian mixture of codes", True),
            ("vq-vae", "VQ-VAE and PixelCNN", False),
        )
    ),
)


def competitors() -> dict[str, Competitor]:
    """Returns all of them by name: Packshot's models with their settings, its other recipes, and the peers."""
    from packshot.core.config import read_toml
    from packshot.models.table import PICTURE_MODELS

    recipes = {path.stem: read_toml(path)["model"] for path in sorted(RECIPES.glob("*.toml"))}
    table = {peer.name: peer for peer in PEERS}
    for name, model in {**{name: name for name in PICTURE_MODELS}, **recipes}.items():
        if name not in table and model in PICTURE_MODELS:
            what = f"Packshot, {model}" + (f", recipes/{name}.toml" if name in recipes else "")
            sizes = PICTURE_MODELS[model].sizes
            table[name] = Competitor(name=name, what=what, peer=False, conditional=True, sizes=sizes)
    return table


def find_competitor(name: str) -> Competitor:
    """Returns one of them.

    Raises:
        UsageError: no such competitor; the nearest name is suggested.
    """
    return lookup("competitor", name, competitors())
