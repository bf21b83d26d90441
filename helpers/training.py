"""The model that trains, notebook 05: Keras's `fit` with many steps in one compiled call."""

from helpers.argument_checks import PIXELS, check_images, check_real, check_whole
from helpers.decoder import build_decoder, check_match
from helpers.encoder import build_encoder
from helpers.loss import kl_divergence, reconstruction_loss
from helpers.progress_line import Progress
from helpers.sampling import Sampling, add_sampling

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from zipfile import BadZipFile, ZipFile

import keras
import numpy as np
import tensorflow as tf
from IPython import get_ipython
from keras import KerasTensor, ops, tree
from keras.optimizers.schedules import LearningRateSchedule

Arrays = np.ndarray | tuple[np.ndarray, ...]
Pair = tuple[KerasTensor, KerasTensor]
CHUNK = 2_000  # images at most, unless one batch is larger: bounds the memory of a call


@contextmanager
def _no_stop() -> Iterator[None]:
    """Let an interruption wait: TensorFlow, if stopped while it traces, may raise any error."""
    if current_thread() is not main_thread():
        yield
        return
    came = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(True)) or signal.SIG_DFL
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


class Chunks(keras.utils.PyDataset):
    """Images cut into chunks of many batches, so that one call trains on many batches.

    Item i is a pair: images (steps, batch_size, 784) of the dtype given, and weights
    (steps, batch_size) float32, 1 for an image and 0 for the padding that fills the last
    chunk. An epoch holds each image once, in a new order if `shuffle`. Where `x` is a tuple
    of arrays of one length, images and labels say, the first of the pair is such a tuple.
    """

    def __init__(
        self, x: Arrays, batch_size: int, shuffle: bool = False, seed: int | None = None
    ) -> None:
        """Cut `x` (n, 784) into chunks of equal length, of at most `CHUNK` images or one batch."""
        super().__init__()
        batch_size = check_whole("batch_size", batch_size, 1)
        seed = seed if seed is None else check_whole("seed", seed, 0)
        length = len(tree.flatten(x)[0])
        batches = -(-length // batch_size)
        self.count = -(-batches // max(1, CHUNK // batch_size))
        self.shape = (-(-batches // self.count), batch_size)
        self.x, self.shuffle = x, shuffle
        self.order = np.arange(length)
        # Without a seed the order follows keras.utils.set_random_seed, as Keras's own does.
        self.rng = np.random.default_rng(random.getrandbits(64) if seed is None else seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        """The number of chunks in an epoch."""
        return self.count

    def __getitem__(self, i: int) -> tuple[Arrays, np.ndarray]:
        """Chunk i of this epoch: images and weights."""
        size = self.shape[0] * self.shape[1]
        chosen = self.order[i * size : (i + 1) * size]

        def cut(array: np.ndarray) -> np.ndarray:
            filled = np.zeros((size, *array.shape[1:]), array.dtype)
            filled[: len(chosen)] = array[chosen]
            return filled.reshape(*self.shape, *array.shape[1:])

        weights = (np.arange(size) < len(chosen)).astype("float32")
        return tree.map_structure(cut, self.x), weights.reshape(self.shape)

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        if self.shuffle:
            self.rng.shuffle(self.order)


@keras.saving.register_keras_serializable("vae_course")
class VAE(keras.Model):
    """A variational autoencoder whose loss is reconstruction_loss + beta * kl_divergence.

    With beta 1 the loss is the negative ELBO (Kingma and Welling 2013, arXiv 1312.6114,
    equation 10, one sample), with another beta that of a beta-VAE (Higgins et al. 2017).
    `fit` and `evaluate` take images (n, 784), bytes or floats in [0, 1], and report
    loss, reconstruction_loss and kl_divergence in nats an image. Calling the model maps
    such images to one reconstruction (n, 784) each.

    Raises:
        ValueError: `beta` is negative, or the encoder's z does not fit the decoder.
    """

    chunks = Chunks  # how `fit` and `evaluate` cut images; subclasses may change it

    def __init__(
        self, encoder: keras.Model, decoder: keras.Model, beta: float = 1.0, **kwargs
    ) -> None:
        """Join an encoder with outputs z_mean, z_log_var, z and a decoder from z to logits."""
        super().__init__(**kwargs)
        check_match(encoder, decoder)
        self.encoder, self.decoder, self.beta = encoder, decoder, check_real(beta, "beta")
        names = ("loss", "reconstruction_loss", "kl_divergence")
        self.means = [keras.metrics.Mean(name) for name in names]
        self.build((None, PIXELS))

    def build(self, input_shape: tuple) -> None:
        """Mark the model as built: encoder and decoder come with their weights."""
        self.built = True

    def call(self, x: KerasTensor) -> KerasTensor:
        """One reconstruction (n, 784) for each image, from one sampled z."""
        return ops.sigmoid(self.decoder(self.encoder(self.prepare(x))[2]))

    def check(self, x: np.ndarray, name: str = "x") -> np.ndarray:
        """What `fit` and `evaluate` take, else an error; subclasses may take more."""
        return check_images(x, name)

    def prepare(self, x: KerasTensor) -> KerasTensor:
        """A batch as `terms` takes it: bytes become floats in [0, 1], floats stay."""
        if x.dtype != tf.uint8 and not x.dtype.is_floating:
            raise TypeError(f"x: expected uint8 or float images, got dtype {x.dtype.name}")
        return ops.cast(x, "float32") / 255 if x.dtype == tf.uint8 else ops.cast(x, "float32")

    def terms(self, x: KerasTensor) -> Pair:
        """reconstruction_loss and kl_divergence of each image, (n,) nats, with one sampled z."""
        z_mean, z_log_var, z = self.encoder(x)
        return reconstruction_loss(x, self.decoder(z)), kl_divergence(z_mean, z_log_var)

    def descend(self, x: KerasTensor, weight: KerasTensor) -> Pair:
        """One optimizer step on one batch; returns the two terms summed over its images."""
        with tf.GradientTape() as tape:
            reconstruction, kl = (ops.sum(term * weight) for term in self.terms(x))
            loss = (reconstruction + self.beta * kl) / ops.sum(weight)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return reconstruction, kl

    def train_step(self, chunk: Pair) -> dict:
        """A step on every batch of a chunk, in one call, compiled by XLA as a whole."""
        # Made anew whenever Keras traces this step, so that `compile` always takes effect.
        steps = tf.function(self.descend_chunk, jit_compile=True, autograph=False)
        with _no_stop():
            reconstruction, kl = steps(*chunk)
        count = ops.sum(chunk[1])
        return self._report(reconstruction / count, kl / count, count)

    def descend_chunk(self, x: KerasTensor, weight: KerasTensor) -> Pair:
        """`descend` on every batch of a chunk, one after the other; returns the sums."""

        def step(i: KerasTensor, reconstruction: KerasTensor, kl: KerasTensor) -> tuple:
            batch = self.descend(self.prepare(tree.map_structure(lambda a: a[i], x)), weight[i])
            return i + 1, reconstruction + batch[0], kl + batch[1]

        batches = ops.sum(ops.cast(weight[:, 0], "int32"))  # a batch of padding is no step
        return tf.while_loop(lambda i, *_: i < batches, step, [0, 0.0, 0.0])[1:]

    def test_step(self, chunk: Pair) -> dict:
        """The loss of a chunk, all its images at once."""
        x, weight = chunk
        x = tree.map_structure(lambda a: ops.reshape(a, (-1, *a.shape[2:])), x)
        with _no_stop():
            return self._report(*self.terms(self.prepare(x)), ops.ravel(weight))

    def _report(self, reconstruction: KerasTensor, kl: KerasTensor, weight: KerasTensor) -> dict:
        values = (reconstruction + self.beta * kl, reconstruction, kl)
        for mean, value in zip(self.means, values, strict=True):
            mean.update_state(value, sample_weight=weight)
        return {mean.name: mean.result() for mean in self.means}

    def fit(
        self,
        x: np.ndarray,
        batch_size: int = 32,
        epochs: int = 1,
        validation_data: np.ndarray | None = None,
        callbacks: list | None = None,
        seed: int | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Keras's `fit` on images (n, 784); `validation_data` are images too.

        `seed` fixes the order of the images; None follows `keras.utils.set_random_seed`.
        Interrupted, it leaves the epochs that are done in `history`, and the weights as they
        are, from which the next `fit` goes on. To lose at most an epoch if the process dies,
        add `keras.callbacks.BackupAndRestore(folder, double_checkpoint=True)`.

        Raises:
            TypeError, ValueError: images that are none (see `check_images`).
        """
        check_whole("epochs", epochs, 1)
        if validation_data is not None:
            validation_data = self.chunks(
                self.check(validation_data, "validation_data"), batch_size
            )
        shown = [Progress()] if get_ipython() is not None and "verbose" not in kwargs else []
        try:
            return super().fit(
                self.chunks(self.check(x), batch_size, shuffle=True, seed=seed),
                epochs=epochs,
                validation_data=validation_data,
                callbacks=[*(callbacks or []), *shown],
                shuffle=False,
                **{"verbose": 0, **kwargs},
            )
        except KeyboardInterrupt:
            for progress in shown:
                progress.stop()
            raise

    def evaluate(self, x: np.ndarray, batch_size: int = 32, **kwargs) -> dict | list:
        """Keras's `evaluate` on images (n, 784): a dict, in nats an image.

        Raises:
            TypeError, ValueError: images that are none (see `check_images`).
        """
        if not isinstance(x, Chunks):  # `fit` hands over its validation chunks
            x = self.chunks(self.check(x), batch_size)
        return super().evaluate(x, **{"verbose": 0, "return_dict": True, **kwargs})

    def get_config(self) -> dict:
        """Encoder, decoder and beta, as `keras.saving` stores them."""
        serialize = keras.saving.serialize_keras_object
        parts = {"encoder": serialize(self.encoder), "decoder": serialize(self.decoder)}
        return {"name": self.name, "beta": self.beta, **parts}

    @classmethod
    def from_config(cls, config: dict) -> "VAE":
        """The model of a configuration made by `get_config`."""
        parts = ("encoder", "decoder")
        built = {part: keras.saving.deserialize_keras_object(config[part]) for part in parts}
        return cls(**{**config, **built})


def build_vae(latent_dim: int = 2, beta: float = 1.0, seed: int | None = None) -> VAE:
    """The course's model: 784-64-latent_dim-64-784, ready for `fit` with Adam at 1e-3.

    Raises:
        ValueError: `latent_dim` below 1, or `beta` below 0.
    """
    encoder = add_sampling(build_encoder(latent_dim), Sampling(seed, name="z"))
    return compile_with_adam(VAE(encoder, build_decoder(latent_dim), beta))


def compile_with_adam(vae: VAE, learning_rate: float | LearningRateSchedule = 1e-3) -> VAE:
    """Return `vae`, compiled with Keras's Adam, whose state can be saved at once."""
    if not isinstance(learning_rate, LearningRateSchedule):
        learning_rate = check_real(learning_rate, "learning_rate")
    vae.compile(optimizer=keras.optimizers.Adam(learning_rate))
    vae.optimizer.build(vae.trainable_variables)
    return vae


def load_vae(path: str | Path) -> VAE:
    """The model that `vae.save(path)` stored. Nothing in the file is run as code.

    Raises:
        FileNotFoundError, OSError: the file is missing, cut short, altered, or no VAE.
    """
    name, advice = Path(path).name, "restore it, or train again and store with vae.save"
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: {name} is missing; {advice}")
    try:
        with ZipFile(path) as archive:  # HDF5 may skip bytes, and then no checksum is compared
            if broken := archive.testzip():
                raise BadZipFile(broken)
        model = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # what is not a model of Keras can raise anything
        raise OSError(f"path: {name} is damaged, or not to be trusted; {advice}") from error
    if not isinstance(model, VAE):
        raise OSError(f"path: {name} is a {type(model).__name__}, not a VAE; {advice}")
    return model
