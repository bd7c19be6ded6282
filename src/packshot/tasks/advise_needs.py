"""What is known of the models before any trial: which are candidates for a need, and why."""

from dataclasses import dataclass

KID, RECON = "kid", "recon_rms"

FIGURE_WORDS = {
    KID: "the kernel distance to the test photos (KID)",
    RECON: "how near its reconstructions of test photos come (RMS, grey levels)",
}


@dataclass(frozen=True)
class Need:
    """What a shop wants from a model.

    Attributes:
        wish: in words.
        judged_by: the figure that decides, KID or RECON; lower is better in both.
        candidates: model to why it is one, in the order in which they are kept when the budget is short.
        not_tried: model to why not.
    """

    wish: str
    judged_by: str
    candidates: dict[str, str]
    not_tried: dict[str, str]


REFERENCE = "a yardstick for measurements, not a model to sell with"
NO_ENCODER = "it has no encoder: a photo can only be searched for in its noise, which is slow and less near"

# Seen in trials of 23 CPU-seconds on 3,967 clothing photos: projected had the best KID by far (16.0; the latent flow
# 21.7), and its pictures showed no product at all.
SAME_NETWORK = (
    "its discriminator looks through the very network that the figures are measured with, so they would flatter it; "
    "train it and judge by eye"
)

NEEDS: dict[str, Need] = {
    "sharp": Need(
        wish="new pictures as sharp as photos",
        judged_by=KID,
        candidates={
            "latent": "a flow draws the codes of a VAE, which a plain prior does not fit; steady",
            "r3gan": "a GAN without tricks whose loss has a proof of convergence",
            "dcgan": "the plain convolutional GAN; many pictures for each CPU-second",
            "stylegan2": "styles at every scale, for detail; needs the most time",
            "vae-gan": "a VAE whose decoder also has to please a discriminator",
            "wgan-gp": "a steady GAN, slow because the discriminator trains twice",
        },
        not_tried={
            "vae": "trained on squared error alone, its pictures are soft",
            "hvae": "trained on squared error alone, its pictures are soft",
            "vq-vae": "its decoder is trained on squared error alone",
            "gan-mlp": "fully connected: quick, but coarse",
            "projected": SAME_NETWORK,
            "gan-reference": REFERENCE,
        },
    ),
    "similar": Need(
        wish="pictures like a given photo",
        judged_by=KID,
        candidates={
            "latent": "its encoder finds the code of a photo, and its flow draws codes near to it",
            "vae": "its encoder finds the code of a photo; quick and steady",
            "vae-gan": "an encoder, and a decoder that also has to please a discriminator",
            "hvae": "an encoder whose codes keep the picture's layout",
        },
        not_tried={
            "vq-vae": "it draws codes from a codebook, so `create --like` cannot start from a photo",
            **dict.fromkeys(("dcgan", "r3gan", "projected", "stylegan2", "wgan-gp", "gan-mlp"), NO_ENCODER),
            "gan-reference": REFERENCE,
        },
    ),
    "repair": Need(
        wish="a model that can give a damaged photo back",
        judged_by=RECON,
        candidates={
            "vq-vae": "64 codes from a codebook keep the picture's layout",
            "hvae": "codes at three scales keep the picture's layout",
            "vae": "an encoder and decoder trained to give photos back; quick and steady",
            "latent": "its VAE is trained to give photos back, with little pressure on the codes",
            "vae-gan": "an encoder, and a decoder that also has to please a discriminator",
        },
        not_tried={
            **dict.fromkeys(("dcgan", "r3gan", "projected", "stylegan2", "wgan-gp", "gan-mlp"), NO_ENCODER),
            "gan-reference": REFERENCE,
        },
    ),
}
