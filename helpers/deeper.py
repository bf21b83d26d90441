"""How far two latent dimensions go, notebook 09: deeper networks and a learning-rate schedule."""

from helpers.argument_checks import PIXELS, check_real, check_whole
from helpers.beta import BetaVAE, Setting, draw_weights, start_as
from helpers.data import load_mnist
from helpers.encoder import Encoder
from helpers.evaluation import Binarised, binarise
from helpers.sampling import Sampling, add_sampling
from helpers.training import compile_with_adam

import threading
import time
from typing import NamedTuple

import keras
from keras import layers
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule

_kept: dict[str, BetaVAE] = {}  # the model trained last: it is compiled for its other seeds
_one_at_a_time = threading.Lock()  # threads share it


class DeepSetting(NamedTuple):
    """What `train_deep` trains; the defaults are the course's model."""

    widths: tuple[int, ...] = (64,)  # of the encoder's hidden layers; the decoder's are reversed
    activation: str = "relu"
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: bool = False  # of the learning rate: up to its value, then down on a cosine
    beta_start: float = 1.0  # from here beta grows to 1 in the first half of the steps
    epochs: int = 10
    seed: int = 1
    binary: bool = False  # digits binarised anew each time, in place of grey levels
    images: int = 55_000  # how many training images to use
    latent_dim: int = 2


@keras.saving.register_keras_serializable("vae_course")
class BinaryBetaVAE(Binarised, BetaVAE):
    """A BetaVAE that trains on digits binarised anew each time they are shown."""


def build_deep_encoder(
    widths: tuple[int, ...], activation: str = "gelu", latent_dim: int = 2
) -> keras.Model:
    """784 -> a Dense layer of each width -> z_mean and z_log_var, (n, latent_dim) each.

    Raises:
        ValueError: no widths, or a width or `latent_dim` below 1.
    """
    units = check_whole("latent_dim", latent_dim, 1)
    hidden = x = keras.Input((PIXELS,), name="x")
    for width in check_widths(widths):
        hidden = layers.Dense(width, activation=activation)(hidden)
    heads = [layers.Dense(units, name=name)(hidden) for name in ("z_mean", "z_log_var")]
    return Encoder(x, heads, name="encoder")


def build_deep_decoder(
    widths: tuple[int, ...], activation: str = "gelu", latent_dim: int = 2
) -> keras.Model:
    """z (n, latent_dim) -> a Dense layer of each width, the last first -> logits (n, 784).

    Raises:
        ValueError: no widths, or a width or `latent_dim` below 1.
    """
    hidden = z = keras.Input((check_whole("latent_dim", latent_dim, 1),), name="z")
    for width in reversed(check_widths(widths)):
        hidden = layers.Dense(width, activation=activation)(hidden)
    return keras.Model(z, layers.Dense(PIXELS, name="logits")(hidden), name="decoder")


def check_widths(widths: tuple[int, ...]) -> list[int]:
    """Return `widths` if they are one or more whole numbers of at least 1, else ValueError."""
    if not isinstance(widths, (tuple, list)) or not widths:
        raise ValueError(f"widths: expected one whole number a hidden layer, got {widths!r}")
    return [check_whole("widths", width, 1) for width in widths]


def rate_schedule(peak: float, steps: int, warm_up: float = 0.05) -> LearningRateSchedule:
    """From 0 up to `peak` in the first share `warm_up` of the steps, then down on half a cosine.

    Raises:
        ValueError: a peak that is negative or not finite, steps below 1, or a share that is
            not from 0 to below 1.
    """
    peak = check_real(peak, "peak")
    if not (warm_up := check_real(warm_up, "warm_up")) < 1:
        raise ValueError(f"warm_up: expected a share from 0 to below 1, got {warm_up!r}")
    steps = check_whole("steps", steps, 1)
    first = min(round(warm_up * steps), steps - 1)  # one is left for the way down
    return CosineDecay(0.0, steps - first, warmup_target=peak, warmup_steps=first)


def build_deep_vae(setting: DeepSetting) -> BetaVAE:
    """The model of a setting, with weights and noise from its seed, ready for `fit`.

    Raises:
        ValueError: a value that its name cannot have.
    """
    check_whole("seed", setting.seed, 0)
    batch_size = check_whole("batch_size", setting.batch_size, 1)
    rate = check_real(setting.learning_rate, "learning_rate")
    steps_an_epoch = -(-check_whole("images", setting.images, 1) // batch_size)
    steps = check_whole("epochs", setting.epochs, 1) * steps_an_epoch
    encoder = build_deep_encoder(setting.widths, setting.activation, setting.latent_dim)
    encoder = add_sampling(encoder, Sampling(setting.seed, name="z"))
    decoder = build_deep_decoder(setting.widths, setting.activation, setting.latent_dim)
    knobs = Setting(warm_up=steps // 2, beta_start=setting.beta_start)
    kind = BinaryBetaVAE if setting.binary else BetaVAE
    vae = kind(knobs, encoder, decoder)
    rate = rate_schedule(rate, steps) if setting.schedule else rate
    return draw_weights(compile_with_adam(vae, rate), setting.seed)


def train_deep(setting: DeepSetting) -> dict:
    """Train a model as `setting` says; its test terms, history, seconds and weights.

    The history has the -ELBO of each epoch, in nats an image: of the training images as they
    were shown ("loss") and of the validation images after it ("val_loss"). Choose by the last
    of these, `validation_loss`; the test terms are there to report. Validation and test images
    are binarised once, from a fixed seed, if the setting is binary.

    Raises:
        ValueError: a value that its name cannot have.
    """
    mnist = load_mnist()
    x = mnist.x_train[: check_whole("images", setting.images, 1, len(mnist.x_train))]
    held_out = mnist.x_val, mnist.x_test
    validation, test = (binarise(x, 0) for x in held_out) if setting.binary else held_out
    fresh, name = build_deep_vae(setting), str(setting._replace(seed=0))
    options = {"batch_size": setting.batch_size, "epochs": setting.epochs, "seed": setting.seed}
    options |= {"validation_data": (validation,), "validation_batch_size": 1_000, "verbose": 0}
    with _one_at_a_time:
        vae, start = _kept.get(name, fresh), time.perf_counter()
        _kept.clear()
        start_as(vae, fresh)
        history = vae.fit(x, **options).history
        seconds = time.perf_counter() - start
        loss, weights = vae.evaluate(test, batch_size=1_000), vae.get_weights()
        _kept[name] = vae
    pairs = zip(history["reconstruction_loss"], history["kl_divergence"], strict=True)
    kept = {"loss": [d + r for d, r in pairs], "val_loss": history["val_loss"]}  # with beta 1
    terms = {key: loss[key] for key in ("reconstruction_loss", "kl_divergence")}
    terms |= {"validation_loss": kept["val_loss"][-1], "history": kept}
    return {**terms, "seconds": seconds, "weights": weights}
