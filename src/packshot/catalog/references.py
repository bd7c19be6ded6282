"""The two reference catalogues: what they are, their licence, and the checksums that tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A public catalogue that Packshot can bring.

    Attributes:
        name: what it is called in commands.
        licence: SPDX expression.
        source: where the photos come from, in words.
        citation: what a publication should cite; None: nothing asked for.
        address: where it can be had from the network.
        categories: names of its labels in their published order; empty: they are in its list.
        content_sha256: SHA-256 by file name, of the unpacked content; empty: none can be pinned.
    """

    name: str
    licence: str
    source: str
    citation: str | None
    address: str
    categories: tuple[str, ...] = ()
    content_sha256: Mapping[str, str] = field(default_factory=dict)


# Of the unpacked content, since Debian's package packs the same bytes anew: its files, given back the name and time
# that gzip had written, have exactly the MD5 sums that the data set's own README publishes.
FASHION_MNIST = Reference(
    name="fashion-mnist",
    licence="MIT",
    source="Fashion-MNIST, product photos of Zalando, https://github.com/zalandoresearch/fashion-mnist",
    citation="H. Xiao, K. Rasul, R. Vollgraf. Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning "
    "Algorithms. arXiv:1708.07747, 2017",
    address="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    categories=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    content_sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)

CLOTHING = Reference(
    name="clothing",
    licence="CC0-1.0",
    source="Clothing dataset, photos by private sellers, https://github.com/alexeygrigorev/clothing-dataset",
    citation=None,
    address="https://codeload.github.com/alexeygrigorev/clothing-dataset/zip/refs/heads/master",
)
