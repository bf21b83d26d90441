"""What the weight of the KL term does, notebook 07: a loss with knobs, and training by them."""

from helpers.argument_checks import check_clouds, check_numbers, check_real, check_whole
from helpers.data import load_mnist
from helpers.decoder import build_decoder
from helpers.encoder import build_encoder
from helpers.loss import as_clouds, reconstruction_loss
from helpers.sampling import Sampling, add_sampling
from helpers.training import VAE, compile_with_adam, draw_kernels, knob

import threading
from typing import NamedTuple

import keras
import numpy as np
from keras import KerasTensor, ops

KNOBS = ("beta", "reconstruction_weight", "warm_up", "beta_start", "free_nats")
_compiled: dict[int, "BetaVAE"] = {}
_one_at_a_time = threading.Lock()  # threads share the compiled models


class Setting(NamedTuple):
    """What to train: a point of a sweep."""

    beta: float = 1.0
    seed: int = 1
    epochs: int = 10
    latent_dim: int = 2
    reconstruction_weight: float = 1.0  # 0 leaves the KL term alone
    warm_up: int = 0  # steps over which beta grows to its value
    beta_start: float = 0.0  # the share of its value at which beta starts to grow
    free_nats: float = 0.0  # KL of a unit, mean of a batch, below which it costs no more
    images: int = 55_000  # how many training images to use


def kl_by_unit(z_mean: KerasTensor, z_log_var: KerasTensor) -> KerasTensor:
    """The KL divergence of `kl_divergence`, kept apart for each latent unit: (n, latent_dim).

    Raises:
        TypeError, ValueError: as `kl_divergence`.
    """
    z_mean, z_log_var = as_clouds(z_mean, z_log_var)
    return 0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - 1 - z_log_var)


def active_units(z_mean: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """Which latent units say something about the image: (latent_dim,) booleans.

    A unit is active if its `z_mean` (n, latent_dim) varies over the images by more than
    `threshold` (Burda, Grosse and Salakhutdinov 2015, arXiv 1509.00519, section 5.2).

    Raises:
        TypeError, ValueError: as `check_numbers` and `check_real`.
    """
    z_mean = check_numbers(z_mean, "z_mean", "n", "latent_dim")
    return np.var(z_mean, axis=0) > check_real(threshold, "threshold")


def aggregate_covariance(z_mean: np.ndarray, z_log_var: np.ndarray) -> np.ndarray:
    """Covariance (latent_dim, latent_dim) of the aggregate posterior of two (n, latent_dim) arrays.

    The covariance of the means plus, on the diagonal, the mean variance of the clouds.

    Raises:
        TypeError, ValueError: as `check_clouds`.
    """
    z_mean, z_log_var = check_clouds(z_mean, z_log_var)
    return np.cov(z_mean.T, bias=True) + np.diag(np.exp(z_log_var).mean(axis=0))


def objective(
    reconstruction: KerasTensor,
    kl_of_units: KerasTensor,
    beta: KerasTensor,
    free_nats: KerasTensor = 0.0,
    reconstruction_weight: KerasTensor = 1.0,
) -> KerasTensor:
    """What a `BetaVAE` descends, from the means of a batch: a scalar and (latent_dim,) nats.

    A unit whose KL lies below `free_nats` pays for `free_nats` (free bits: Kingma et al. 2016,
    arXiv 1606.04934, appendix C.8).
    """
    charged = ops.sum(ops.maximum(kl_of_units, free_nats))
    return reconstruction_weight * reconstruction + beta * charged


@keras.saving.register_keras_serializable("vae_course")
class BetaVAE(VAE):
    """The course's VAE with knobs that can be turned without compiling again.

    It trains on `objective`, with a beta that grows linearly over the first `warm_up` steps
    (Sonderby et al. 2016, arXiv 1602.02282), and is evaluated without any of it but beta.
    """

    reconstruction_weight, warm_up, beta_start, free_nats = map(knob, KNOBS[1:])

    def __init__(
        self,
        setting: Setting,
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        **kwargs,
    ) -> None:
        """Turn the knobs of a setting, on the course's network unless another one is given."""
        if encoder is None:
            sampling = Sampling(setting.seed, name="z")
            encoder = add_sampling(build_encoder(setting.latent_dim), sampling)
        decoder = decoder or build_decoder(setting.latent_dim)
        super().__init__(encoder, decoder, setting.beta, **kwargs)
        self.turn(setting)

    def turn(self, setting: Setting) -> None:
        """Turn the knobs to those of a setting."""
        for name in KNOBS:
            setattr(self, name, getattr(setting, name))

    def objective(self, x: KerasTensor, training: bool = False) -> tuple[KerasTensor, ...]:
        """The loss of a batch, and its two terms: nats an image."""
        if not training:
            return super().objective(x)
        step = ops.cast(self.optimizer.iterations, "float32")
        grown = ops.minimum(1.0, (step + 1) / ops.maximum(self.warm_up, 1.0))
        beta = self.beta * (self.beta_start + (1 - self.beta_start) * grown)
        z_mean, z_log_var, z = self.encoder(x, training=True)
        logits = self.decoder(z, training=True)
        reconstruction = ops.mean(reconstruction_loss(x, logits))
        kl = ops.mean(kl_by_unit(z_mean, z_log_var), axis=0)
        loss = objective(reconstruction, kl, beta, self.free_nats, self.reconstruction_weight)
        return loss, reconstruction, ops.sum(kl)

    def get_config(self) -> dict:
        """Encoder, decoder and knobs, as `keras.saving` stores them."""
        config = super().get_config()
        return {**config, **{name: getattr(self, name) for name in KNOBS}}

    @classmethod
    def from_config(cls, config: dict) -> "BetaVAE":
        """The model of a configuration made by `get_config`."""
        knobs = {name: config[name] for name in KNOBS}
        rest = {name: value for name, value in config.items() if name not in KNOBS}
        return super().from_config({**rest, "setting": Setting(**knobs)})


def draw_weights(vae: VAE, seed: int) -> VAE:
    """Draw all weights of `vae` anew from `seed` alone, as Keras does (Glorot), and return it.

    Keras's own seed is global to the process: other threads, Dask's among them, draw from it.
    """
    check_whole("seed", seed, 0)
    draw_kernels(vae, lambda k: int(np.random.default_rng([seed, k]).integers(2**31)))
    return vae


def start_as(vae: VAE, fresh: VAE) -> None:
    """Give the compiled `vae` all that `fresh`, of the same layers, starts with: state, too."""
    mine, drawn = ([*model.variables, *model.optimizer.variables] for model in (vae, fresh))
    for old, new in zip(mine, drawn, strict=True):
        old.assign(new)


def train(setting: Setting) -> dict:
    """Train a model as `setting` says: its test terms, history and weights.

    Returns reconstruction_loss and kl_divergence in nats a test image, the history of `fit`,
    and weights that fit `build_vae(latent_dim)`. One compiled model a process serves
    all settings of a latent_dim; the same setting always gives the same result.

    Raises:
        ValueError: a value that its name cannot have.
    """
    mnist = load_mnist()
    x = mnist.x_train[: check_whole("images", setting.images, 1, len(mnist.x_train))]
    with _one_at_a_time:
        fresh = draw_weights(compile_with_adam(BetaVAE(setting)), setting.seed)
        vae = _compiled.setdefault(setting.latent_dim, fresh)
        vae.turn(setting)
        start_as(vae, fresh)
        history = vae.fit(x, epochs=setting.epochs, seed=setting.seed, verbose=0).history
        loss, weights = vae.evaluate(mnist.x_test), vae.get_weights()
    pairs = zip(history["reconstruction_loss"], history["kl_divergence"], strict=True)
    history["loss"] = [d + setting.beta * r for d, r in pairs]  # without warm-up or free nats
    terms = {name: loss[name] for name in ("reconstruction_loss", "kl_divergence")}
    return {**terms, "history": history, "weights": weights}
