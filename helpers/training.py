"""The model that trains, notebook 05, and how it is built, stored and loaded."""

from helpers.argument_checks import check_images, check_real, check_whole
from helpers.decoder import build_decoder, check_match
from helpers.encoder import as_pixels, build_encoder
from helpers.fused import Arrays, Fused
from helpers.loss import kl_divergence, reconstruction_loss
from helpers.sampling import Sampling, add_sampling

import random
import re
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, ops, tree
from keras.optimizers.schedules import LearningRateSchedule
from keras.utils import unpack_x_y_sample_weight

Pair = tuple[KerasTensor, KerasTensor]


def knob(name: str, above: bool = False) -> property:
    """A number of a model or layer that can be changed at any time, compiled or not.

    It is a float from 0 on, 0 itself not if `above`. In a function that is being compiled it
    is a tensor, read anew at each call; elsewhere what is no such number raises ValueError.
    """

    def get(owner: object) -> float | KerasTensor | None:
        number, variable = vars(owner).get(f"_{name}", (None, None))
        return number if tf.executing_eagerly() else variable.read_value()

    def turn(owner: object, value: float) -> None:
        number, kept = check_real(value, name, above), vars(owner).get(f"_{name}")
        variable = kept[1] if kept else tf.Variable(number, trainable=False, dtype="float32")
        variable.assign(number)
        vars(owner)[f"_{name}"] = number, variable

    return property(get, turn)


@keras.saving.register_keras_serializable("vae_course")
class VAE(Fused):
    """A variational autoencoder whose loss is reconstruction_loss + beta * kl_divergence.

    With beta 1 the loss is the negative ELBO (Kingma and Welling 2013, arXiv 1312.6114,
    equation 10, one sample), with another beta that of a beta-VAE (Higgins et al. 2017);
    `beta` may be changed at any time. Losses of layers, regularisers say, are added. Wherever
    Keras takes x, and y, it takes images (n, 784), bytes or floats in [0, 1]; it reports loss,
    reconstruction_loss and kl_divergence in nats an image. Calling it maps such images to one
    reconstruction (n, 784) each; `fit` does not go through that call but through `terms` and
    `objective`, as `Fused` tells.

    Raises:
        ValueError: `beta` is negative, the encoder's z does not fit the decoder, or the
            decoder does not end in logits.
    """

    beta = knob("beta")

    def __init__(
        self, encoder: keras.Model, decoder: keras.Model, beta: float = 1.0, **kwargs
    ) -> None:
        """Join an encoder with outputs z_mean, z_log_var, z and a decoder from z to logits."""
        super().__init__(**kwargs)
        if type(self).compute_loss is not VAE.compute_loss:
            VAE.compute_loss(self)
        check_match(encoder, decoder)
        self.encoder, self.decoder, self.beta = encoder, decoder, beta
        names = ("loss", "reconstruction_loss", "kl_divergence")
        self.means = [keras.metrics.Mean(name) for name in names]
        self.built = True  # encoder and decoder come with their weights

    def compute_loss(self, *args, **kwargs) -> None:
        """Refused, since the loss is made in `objective`, which a subclass may override."""
        raise NotImplementedError("compute_loss: a VAE makes its loss in objective; override that")

    def call(self, x: KerasTensor, training: bool | None = None) -> KerasTensor:
        """One reconstruction (n, 784) for each image, from one sampled z."""
        z = self.encoder(self.prepare(x), training=training)[2]
        return ops.sigmoid(ops.cast(self.decoder(z, training=training), "float32"))

    def check(self, x: Arrays, name: str = "x") -> Arrays:
        """What Keras takes as x and y, else an error: images, or a pair of twice the same ones.

        Subclasses may take more.
        """
        if isinstance(x, (tf.data.Dataset, keras.utils.PyDataset, Iterator)):
            raise TypeError(f"{name}: expected an array of images, got a {type(x).__name__}")
        if isinstance(x, tuple) and len(x) in (1, 2):
            x, y = x[0], x[-1]
            if x is not y and not np.array_equal(x, y):
                raise ValueError(
                    f"{'y' if name == 'x' else name}: expected none, or the images themselves, "
                    f"which a VAE rebuilds, got a {type(y).__name__} of others"
                )
        return check_images(x, name)

    def prepare(self, x: KerasTensor) -> KerasTensor:
        """A batch as `terms` takes it: bytes become floats in [0, 1], floats stay."""
        return as_pixels(x)

    def terms(self, x: KerasTensor, training: bool = False) -> Pair:
        """reconstruction_loss and kl_divergence of each image, (n,) nats, with one sampled z."""
        z_mean, z_log_var, z = self.encoder(x, training=training)
        logits = self.decoder(z, training=training)
        return reconstruction_loss(x, logits), kl_divergence(z_mean, z_log_var)

    def objective(self, x: KerasTensor, training: bool = False) -> tuple[KerasTensor, ...]:
        """The loss of a batch but for losses of layers, and its two terms: nats an image."""
        reconstruction, kl = map(ops.mean, self.terms(x, training))
        return reconstruction + self.beta * kl, reconstruction, kl

    def train_step(self, data: tuple) -> dict:
        """One optimizer step on one batch; returns the means of the epoch so far."""
        x = self.prepare(unpack_x_y_sample_weight(data)[0])
        with tf.GradientTape() as tape:
            loss = self._count(x, training=True)
            scaled = self.optimizer.scale_loss(loss)
        if variables := self.trainable_variables:
            self.optimizer.apply(tape.gradient(scaled, variables), variables)
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        return self.get_metrics_result()

    def test_step(self, data: tuple) -> dict:
        """The loss of one batch; returns the means so far."""
        self._count(self.prepare(unpack_x_y_sample_weight(data)[0]), training=False)
        return self.get_metrics_result()

    def _count(self, x: KerasTensor, training: bool) -> KerasTensor:
        """The loss of a batch, which has been added to the means."""
        loss, *terms = self.objective(x, training)
        loss += sum(ops.cast(each, "float32") for each in self.losses)
        for mean, value in zip(self.means, (loss, *terms), strict=True):
            mean.update_state(value, sample_weight=ops.shape(tree.flatten(x)[0])[0])
        return loss

    def export(self, *args, **kwargs) -> None:
        """Keras's `export` of what calling the model does, for any number of images at once."""
        inputs = [keras.InputSpec(shape=x.shape, dtype=x.dtype) for x in self.encoder.inputs]
        kwargs.setdefault("input_signature", inputs if len(inputs) == 1 else [inputs])
        super().export(*args, **kwargs)

    @property
    def metrics(self) -> list:
        """The means of loss and terms, and the metrics of layers."""
        return list({metric.name: metric for metric in super().metrics}.values())

    def get_config(self) -> dict:
        """Encoder, decoder and beta, as `keras.saving` stores them."""
        serialize = keras.saving.serialize_keras_object
        parts = {"encoder": serialize(self.encoder), "decoder": serialize(self.decoder)}
        return {**super().get_config(), "beta": self.beta, **parts}

    @classmethod
    def from_config(cls, config: dict) -> "VAE":
        """The model of a configuration made by `get_config`."""
        parts = ("encoder", "decoder")
        built = {part: keras.saving.deserialize_keras_object(config[part]) for part in parts}
        return cls(**{**config, **built})


def build_vae(latent_dim: int = 2, beta: float = 1.0, seed: int | None = None) -> VAE:
    """The course's model: 784-64-latent_dim-64-784, ready for `fit` with Adam at 1e-3.

    A seed fixes its weights, its noise, and the order in which `fit` goes through images: the
    weights and the order that `keras.utils.set_random_seed(seed)` before the call would give.

    Raises:
        ValueError: `latent_dim` below 1, or `beta` below 0.
    """
    encoder = add_sampling(build_encoder(latent_dim), Sampling(seed, name="z"))
    return compile_with_adam(VAE(encoder, build_decoder(latent_dim), beta), seed=seed)


def compile_with_adam(
    vae: VAE, learning_rate: float | LearningRateSchedule = 1e-3, seed: int | None = None
) -> VAE:
    """Return `vae`, compiled with Keras's Adam, whose state can be saved at once.

    A seed draws the weights anew and fixes the order of `fit`, as `build_vae` says.
    """
    if not isinstance(learning_rate, LearningRateSchedule):
        learning_rate = check_real(learning_rate, "learning_rate")
    vae.compile(optimizer=keras.optimizers.Adam(learning_rate))
    vae.optimizer.build(vae.trainable_variables)
    if seed is not None:
        stream = vae.stream = random.Random(check_whole("seed", seed, 0))
        draw_kernels(vae, lambda _: stream.randint(1, 10**9))  # as Keras asks for its seeds
    return vae


def draw_kernels(vae: VAE, seed_of: Callable[[int], int]) -> None:
    """Draw the weights of all layers as Keras does (Glorot), layer k from the seed seed_of(k)."""
    for k, variable in enumerate(vae.trainable_variables):
        if len(variable.shape) == 2:
            variable.assign(keras.initializers.GlorotUniform(seed_of(k))(variable.shape))


def load_vae(path: str | Path) -> VAE:
    """The model of the course that `vae.save(path)` stored. Nothing in the file is run as code.

    Raises:
        FileNotFoundError, OSError: the file is missing, cut short, altered, of another format,
            no VAE, or one with classes that are not known here.
    """
    name, advice = Path(path).name, "restore it, or train again and store with vae.save"
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: {name} is missing; {advice}")
    for module in ("beta", "conditional", "deeper", "evaluation", "published"):
        import_module(f"helpers.{module}")  # whose models Keras then knows
    if Path(path).suffix != ".keras":
        raise OSError(f"path: {name} is of another format; expected a file of vae.save, *.keras")
    try:
        with ZipFile(path) as archive:  # HDF5 may skip bytes, and then no checksum is compared
            if broken := archive.testzip():
                raise BadZipFile(broken)
        model = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # what is not a model of Keras can raise anything
        unknown = re.search(r"Could not locate class '(\w+)'", str(error))
        why = f", or holds a {unknown[1]}, a class to be defined first" if unknown else ""
        raise OSError(f"path: {name} is damaged, or not to be trusted{why}; {advice}") from error
    if not isinstance(model, VAE):
        raise OSError(f"path: {name} is a {type(model).__name__}, not a VAE; {advice}")
    return model
