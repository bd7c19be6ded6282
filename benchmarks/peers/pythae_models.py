"""VAE, VAE-GAN and VQ-VAE of the package pythae, with the networks that it proposes for MNIST (28x28) and CelebA
(64x64), its losses, its samplers and, for the VAE-GAN, its trainer's step. All are unconditional.

What is ours: the loop, because a budget in CPU-seconds has no place in the package's trainers. Settings: batches of
64 and Adam with rate 1e-3 (the package's documentation) for VAE and VQ-VAE, 1e-4 (its default) for each of the
VAE-GAN's three; codes of 16 numbers for MNIST and 64 for CelebA (its benchmark).

VAE and VAE-GAN are sampled by the package's Gaussian mixture of 10 components, which does better than N(0, I) in the
package's benchmark, fitted to the codes of 5,000 training photos after training (not counted, as for Packshot's
prior). The VQ-VAE needs a second network, the package's PixelCNN over the codes, to be sampled at all; it gets the
last third of the CPU-seconds.
"""

import types

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.learner import Task
from benchmarks.peers.sampling import in_batches

COMPONENTS, FITTED_PHOTOS = 10, 5_000
VQ_SHARE = 2 / 3


def unit(images: Tensor) -> Tensor:
    """[-1, 1] to the package's [0, 1]."""
    return (images + 1) / 2


class Autoencoder:
    """A pythae model and its Adam."""

    batch_size = 64

    def __init__(self, model: torch.nn.Module, task: Task) -> None:
        self.model, self.task = model.train(), task
        self.optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step(self, images: Tensor, labels: Tensor, share: float) -> None:
        self.optimizer.zero_grad()
        self.model({"data": unit(images)}).loss.backward()
        self.optimizer.step()

    def sample(self, labels: np.ndarray) -> np.ndarray:
        from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig

        own = self.task.chosen
        chosen = own[np.linspace(0, len(own) - 1, min(FITTED_PHOTOS, len(own))).astype(np.int64)]
        photos = torch.from_numpy(self.task.images[chosen]).permute(0, 3, 1, 2).float() / 255
        components = min(COMPONENTS, len(chosen))
        sampler = GaussianMixtureSampler(self.model.eval(), GaussianMixtureSamplerConfig(n_components=components))
        with torch.random.fork_rng(devices=[]):
            np.random.seed(self.task.seed)  # scikit-learn's mixture draws from numpy's global stream.
            torch.manual_seed(self.task.seed)
            sampler.fit(photos)
        out = in_batches(
            self.model, lambda y: sampler.sample(len(y), batch_size=len(y)) * 2 - 1, labels, self.task.seed
        )
        self.model.train()
        return out


class VAEGANLearner(Autoencoder):
    """The three optimisers and the step of the package's CoupledOptimizerAdversarialTrainer."""

    def __init__(self, model: torch.nn.Module, task: Task) -> None:
        from pythae.trainers import CoupledOptimizerAdversarialTrainer

        self.model, self.task = model.train(), task
        self.update = CoupledOptimizerAdversarialTrainer._optimizers_step
        self.optimizers = types.SimpleNamespace(
            encoder_optimizer=torch.optim.Adam(model.encoder.parameters(), 1e-4),
            decoder_optimizer=torch.optim.Adam(model.decoder.parameters(), 1e-4),
            discriminator_optimizer=torch.optim.Adam(model.discriminator.parameters(), 1e-4),
        )

    def step(self, images: Tensor, labels: Tensor, share: float) -> None:
        self.update(self.optimizers, self.model({"data": unit(images)}))


class VQVAELearner(Autoencoder):
    """First the VQ-VAE, then the PixelCNN over its codes."""

    def __init__(self, model: torch.nn.Module, task: Task) -> None:
        from pythae.samplers import PixelCNNSampler, PixelCNNSamplerConfig

        super().__init__(model, task)
        self.sampler = PixelCNNSampler(model, PixelCNNSamplerConfig())
        self.prior = self.sampler.pixelcnn_model.train()
        self.prior_optimizer = torch.optim.Adam(self.prior.parameters(), 1e-3)

    def step(self, images: Tensor, labels: Tensor, share: float) -> None:
        if share < VQ_SHARE:
            super().step(images, labels, share)
            return
        self.model.eval()
        with torch.no_grad():
            codes = self.model({"data": unit(images)}).quantized_indices.float()
        self.prior_optimizer.zero_grad()
        self.prior({"data": codes}).loss.backward()
        self.prior_optimizer.step()

    def sample(self, labels: np.ndarray) -> np.ndarray:
        self.sampler.is_fitted = True
        self.model.eval()
        make = self.sampler.sample
        return in_batches(self.prior, lambda y: make(len(y), batch_size=len(y)) * 2 - 1, labels, self.task.seed)


def _nets(task: Task) -> tuple[types.ModuleType, str, int]:
    """Returns the package's room of networks for the size, the ending of their names, and the length of the code."""
    from pythae.models.nn.benchmarks import celeba, mnist

    return (mnist, "MNIST", 16) if task.size == 28 else (celeba, "CELEBA", 64)


def build_vae(task: Task) -> Autoencoder:
    from pythae.models import VAE, VAEConfig

    nets, name, length = _nets(task)
    config = VAEConfig(input_dim=(task.channels, task.size, task.size), latent_dim=length)
    encoder, decoder = getattr(nets, f"Encoder_Conv_VAE_{name}"), getattr(nets, f"Decoder_Conv_AE_{name}")
    return Autoencoder(VAE(config, encoder(config), decoder(config)), task)


def build_vae_gan(task: Task) -> VAEGANLearner:
    from pythae.models import VAEGAN, VAEGANConfig

    nets, name, length = _nets(task)
    config = VAEGANConfig(
        input_dim=(task.channels, task.size, task.size), latent_dim=length, adversarial_loss_scale=0.8,
        reconstruction_layer=3, margin=0.4, equilibrium=0.68,
    )  # fmt: skip
    encoder, decoder = getattr(nets, f"Encoder_Conv_VAE_{name}"), getattr(nets, f"Decoder_Conv_AE_{name}")
    discriminator = getattr(nets, f"Discriminator_Conv_{name}")
    return VAEGANLearner(VAEGAN(config, encoder(config), decoder(config), discriminator(config)), task)


def build_vq_vae(task: Task) -> VQVAELearner:
    from pythae.models import VQVAE, VQVAEConfig

    nets, name, length = _nets(task)
    config = VQVAEConfig(input_dim=(task.channels, task.size, task.size), latent_dim=length)
    encoder, decoder = getattr(nets, f"Encoder_ResNet_VQVAE_{name}"), getattr(nets, f"Decoder_ResNet_VQVAE_{name}")
    return VQVAELearner(VQVAE(config, encoder(config), decoder(config)), task)
