"""The model of the source as it was published, kept for comparison; notebooks 02, 05.

Its sampling layer draws z_mean + 0.1 * exp(s) * epsilon, while its KL term counts exp(s)
as the variance. The two disagree, so its printed loss is no bound: `audit` gives the
bound that it should have printed.
"""

from helpers.argument_checks import check_images
from helpers.data import scale
from helpers.decoder import build_decoder
from helpers.encoder import build_encoder
from helpers.loss import kl_divergence
from helpers.sampling import Sampling, add_sampling
from helpers.training import VAE, compile_with_adam, knob

import keras
import numpy as np
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable("vae_course")
class PublishedSampling(Sampling):
    """Draws z = z_mean + noise_std * exp(exponent * s) * epsilon with epsilon from N(0, I).

    The defaults are the source's. `noise_std` 1 and `exponent` 1/2 make it `Sampling`.

    Raises:
        ValueError: `noise_std` or `exponent` is not above 0.
    """

    noise_std, exponent = knob("noise_std", above=True), knob("exponent", above=True)

    def __init__(self, noise_std: float = 0.1, exponent: float = 1.0, **kwargs) -> None:
        """Create the layer; `seed` and `name` as for `Sampling`."""
        super().__init__(**kwargs)
        self.noise_std, self.exponent = noise_std, exponent

    def drawn_log_var(self, s: KerasTensor) -> KerasTensor:
        """The log of the variance that z really has, for the encoder's second output `s`."""
        s = ops.cast(s, self.compute_dtype)
        return 2 * ops.log(self.noise_std) + 2 * self.exponent * s

    def call(self, inputs: tuple[KerasTensor, KerasTensor]) -> KerasTensor:
        """Draw one z for each row of z_mean and s."""
        z_mean, s = inputs
        return super().call((z_mean, self.drawn_log_var(s)))

    def get_config(self) -> dict:
        """The arguments that make the same layer again."""
        return {**super().get_config(), "noise_std": self.noise_std, "exponent": self.exponent}


def build_published_vae(
    noise_std: float = 0.1, exponent: float = 1.0, beta: float = 2.0, seed: int | None = None
) -> VAE:
    """The source's model, 784-64-2-64-784, compiled with Adam as there.

    Each argument undoes one of its choices: noise_std 1, exponent 1/2 and beta 1 together
    give the course's model.

    Raises:
        ValueError: as `PublishedSampling` and `VAE`.
    """
    sampling = PublishedSampling(noise_std, exponent, seed=seed, name="z")
    vae = VAE(add_sampling(build_encoder(), sampling), build_decoder(), beta)
    return compile_with_adam(vae, seed=seed)


def audit(vae: VAE, x: np.ndarray) -> dict[str, float]:
    """What a model with a `PublishedSampling` layer printed, and what is true, in nats an image.

    For images x (n, 784): reconstruction, the KL its loss counts, the KL of the cloud that
    its layer draws, the printed loss, and the negative ELBO: reconstruction + true KL.

    Raises:
        TypeError, ValueError: images that are none (see `check_images`), or another layer.
    """
    sampling = vae.encoder.get_layer("z")
    if not isinstance(sampling, PublishedSampling):
        raise ValueError(
            f"vae: expected a model with PublishedSampling, got {type(sampling).__name__}"
        )
    x = check_images(x)
    loss = vae.evaluate(x)
    true = 0.0
    for part in np.array_split(x, -(-len(x) // 2_000)):  # in small bites of memory
        z_mean, s, _ = vae.encoder(scale(part))
        true += float(ops.sum(kl_divergence(z_mean, sampling.drawn_log_var(s)))) / len(x)
    return {
        "reconstruction": loss["reconstruction_loss"],
        "KL counted": loss["kl_divergence"],
        "KL true": true,
        "printed loss": loss["loss"],
        "-ELBO": loss["reconstruction_loss"] + true,
    }
