"""Keras's `fit` with many steps in one compiled call, notebook 05."""

from helpers.argument_checks import check_real, check_whole
from helpers.progress_line import Progress

import inspect
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import current_thread, main_thread

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, tree
from keras.callbacks import BackupAndRestore, Callback, CallbackList, ModelCheckpoint, ProgbarLogger

Arrays = np.ndarray | tuple[np.ndarray, ...]
CHUNK = 2_000  # images of a compiled call at most, unless one batch is larger: bounds its memory
MOST = 2**40  # elements of `Batches`
# What a callback may do at each batch. If one does, each batch becomes a call of its own.
HOOKS = [f"on_{kind}batch_{end}" for kind in ("", "train_", "test_") for end in ("begin", "end")]
# When those of Keras that have such a hook do nothing in it: saving by epochs, showing no bar.
IDLE = dict.fromkeys((ModelCheckpoint, BackupAndRestore), ("save_freq", "epoch"))
IDLE[ProgbarLogger] = "verbose", 2
COUNTS = ("batch_size", "validation_batch_size", "steps_per_epoch", "validation_steps", "steps")
OWN, EQUAL = "this model has a loss of its own and reports its terms", "all images count the same"
REFUSED = {"loss": OWN, "loss_weights": OWN, "metrics": OWN, "weighted_metrics": OWN}
REFUSED |= {"class_weight": EQUAL, "sample_weight": EQUAL}


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


def _length(x: Arrays) -> int:
    return len(tree.flatten(x)[0])


def _rows(x: Arrays, part: object) -> Arrays:
    return tree.map_structure(lambda a: a[part], x)


def _arguments(method: Callable, *args: object, **kwargs: object) -> dict:
    """The arguments of a call of a method of Keras by their names, those refused left out."""
    bound = inspect.signature(method).bind(*args, **kwargs)
    bound.apply_defaults()
    given = {**bound.arguments, **bound.arguments.get("kwargs", {})}
    given.pop("kwargs", None)
    for name, reason in REFUSED.items():
        if given.pop(name, None) is not None:
            raise ValueError(f"{name}: expected none, since {reason}")
    for name in COUNTS:
        if given.get(name) is not None:
            given[name] = check_whole(name, given[name], 1)
    return given


def _door(name: str) -> Callable:
    """Keras's method of this name, but for its images, which are checked."""
    method = getattr(keras.Model, name)

    @wraps(method)
    def checked(self: "Fused", *args: object, **kwargs: object) -> object:
        return method(**self._checked(_arguments(method, self, *args, **kwargs)))

    return checked


class Batches:
    """Images as `fit` goes through them, in a new order for each epoch if shuffled.

    An element is (batch,), or, in chunks, (chunk, images): an array (batches, batch_size, ...)
    filled up with zeros, one shape for all of them, and how many images it holds. Where `x`
    is a tuple of arrays of one length, images and labels say, so are batches and chunks.
    """

    def __init__(
        self, x: Arrays, batch_size: int, chunks: bool, seed: int, shuffle: bool, shown: Callable
    ) -> None:
        """Cut `x` into chunks of equal length, of at most `CHUNK` images or one batch."""
        length, self.rng = _length(x), np.random.default_rng(seed)
        batches = -(-length // batch_size)
        self.count = -(-batches // max(1, CHUNK // batch_size)) if chunks else batches
        self.shape = (-(-batches // self.count), batch_size)
        self.x, self.chunks, self.shuffle, self.shown = x, chunks, shuffle, shown
        self.order = self.rng.permutation(length) if shuffle else np.arange(length)

    def __len__(self) -> int:
        """The number of elements in an epoch."""
        return self.count

    def __getitem__(self, i: int) -> tuple:
        """Element i; the first one begins a new epoch."""
        if i == 0 and self.shuffle:
            self.rng.shuffle(self.order)
        size = self.shape[0] * self.shape[1]
        chosen = self.order[i * size : (i + 1) * size]
        rows = self.shown(_rows(self.x, chosen), self.rng)

        def filled(rows: np.ndarray) -> KerasTensor:
            whole = np.zeros((size, *rows.shape[1:]), rows.dtype)
            whole[: len(rows)] = rows
            return tf.constant(whole.reshape(*self.shape, *rows.shape[1:]))

        if self.chunks:
            return tree.map_structure(filled, rows), len(chosen)
        return (tree.map_structure(tf.constant, rows),)


class Fused(keras.Model):
    """A Keras model whose `fit` and `evaluate` run many batches in one call, compiled by XLA.

    A subclass has a `train_step` and a `test_step` for one batch, (x,), as Keras has it, and
    `check`. What is computed is what Keras computes. Where something is to happen at each
    batch, they go batch by batch, as Keras does: for a callback that asks to be called at
    batches, Keras's bar (`verbose=1`) among them, with `steps_per_epoch`, `validation_steps`
    or `steps`, with a `train_step` of a student's own, and if `compile` is told `run_eagerly`,
    `jit_compile=False` (which leaves XLA out) or `steps_per_execution`. That is slower.
    """

    def __init__(self, **kwargs) -> None:
        """Pass `name` and the like on to Keras."""
        super().__init__(**kwargs)
        self._sources: list[Batches] = []  # what `fit` and `evaluate` go through at present
        self.stream = random  # of seeds: Python's, which keras.utils.set_random_seed seeds

    predict, predict_on_batch = _door("predict"), _door("predict_on_batch")
    train_on_batch, test_on_batch = _door("train_on_batch"), _door("test_on_batch")

    def compile(self, *args, **kwargs) -> None:
        """Keras's `compile` without loss and metrics; `jit_compile="auto"` means XLA."""
        given = _arguments(keras.Model.compile, self, *args, **kwargs)
        if given["jit_compile"] == "auto":
            given["jit_compile"] = not given["run_eagerly"]
        keras.Model.compile(**given)

    def compile_from_config(self, config: dict) -> None:
        """Compile as a stored model was, with an optimizer that is ready for its state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def shown(self, x: Arrays, rng: np.random.Generator) -> Arrays:
        """What `fit` and `evaluate` show of some images: they themselves, unless overridden."""
        return x

    def make_train_function(self, force: bool = False) -> None:
        """Make what Keras calls with an iterator to train on its next element."""
        if force or self.train_function is None:
            super().make_train_function(True)
            self.train_function = self._for_chunks(self.train_function, self.train_step)

    def make_test_function(self, force: bool = False) -> None:
        """Make what Keras calls with an iterator to evaluate its next element."""
        if force or self.test_function is None:
            super().make_test_function(True)
            self.test_function = self._for_chunks(self.test_function, self.test_step)

    def _for_chunks(self, one: Callable, step: Callable) -> Callable:
        """Keras's function `one`, which makes a `step` on a batch, for chunks, too."""

        @tf.function(jit_compile=True, autograph=False)
        def many(chunk: KerasTensor, batches: KerasTensor) -> dict:
            def body(i: KerasTensor) -> KerasTensor:
                step((_rows(chunk, i),))
                return i + 1

            with _no_stop():
                tf.while_loop(lambda i: i < batches, body, [0])
                return self.get_metrics_result()

        def function(iterator: Iterator) -> dict:
            if not isinstance(iterator, tf.data.Iterator):  # of train_on_batch, say
                return one(iterator)
            elements = (self._sources[int(n) // MOST][int(n) % MOST] for n in iterator)
            if not self._sources[-1].chunks:
                return one(elements)
            chunk, images = next(elements)
            batches, left = divmod(images, tree.flatten(chunk)[0].shape[1])
            if batches:
                logs = many(chunk, tf.constant(batches))
            if left:  # the last batch is shorter
                last = _rows(chunk, np.s_[batches : batches + 1, :left])
                logs = many(last, tf.constant(1))
            return logs

        # TensorFlow counts the calls of one model's function and of the next one's together.
        many._omit_frequent_tracing_warning = True
        return function

    def _numbers(self, *arguments: object) -> tf.data.Dataset:
        """What Keras goes through: numbers of elements of `Batches`, which are made from these."""
        self._sources.append(Batches(*arguments, self.shown))
        first = (len(self._sources) - 1) * MOST
        return tf.data.Dataset.range(first, first + len(self._sources[-1]))

    def _checked(self, given: dict) -> dict:
        """The arguments of a call with images that are checked, and their targets gone."""
        x, y = given["x"], given.pop("y", None)
        return {**given, "x": self.check(x if y is None else (x, y))}

    def _watching(self, given: dict, callbacks: list, epochs: int, steps: int | None) -> bool:
        """Make batch_size and callbacks Keras's; returns whether a call may run many batches."""
        with (strategy := self.distribute_strategy).scope():
            if tf.distribute.has_strategy():
                name = type(strategy).__name__
                raise ValueError(f"tf.distribute: expected no strategy but its default, got {name}")
        given["batch_size"] = size = given["batch_size"] or 32
        verbose, batches = given.pop("verbose"), -(-_length(given["x"]) // size)
        given["callbacks"] = CallbackList(
            callbacks, add_history="epochs" in given, add_progbar=verbose not in (0, "auto"),
            model=self, verbose=verbose, epochs=epochs, steps=steps or batches,
        )  # fmt: skip
        hooked = any(
            getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
            for callback in given["callbacks"].callbacks
            for hook in HOOKS
            if (idle := IDLE.get(type(callback))) is None or getattr(callback, idle[0]) != idle[1]
        )
        limit = getattr(keras.config, "max_steps_per_epoch", lambda: None)()
        own = {self.train_step.__module__, self.test_step.__module__} != {"helpers.training"}
        eager = self.run_eagerly or tf.config.functions_run_eagerly()
        alone = eager or not self.jit_compile or self.steps_per_execution != 1
        return not (alone or own or limit or hooked or steps or given.get("validation_steps"))

    def fit(self, *args, seed: int | None = None, **kwargs) -> keras.callbacks.History:
        """Keras's `fit` on images (n, 784); `validation_data` are images too.

        By default one line in a notebook follows the epochs, and nothing elsewhere; `verbose` 1
        and 2 are Keras's. `seed` fixes the order of the images; without it the order follows
        the seed that the model was built with, or else `keras.utils.set_random_seed`.
        Interrupted, it leaves the epochs that are done in `history`, and the weights as they
        are, from which the next `fit` goes on. To lose at most an epoch if the process dies,
        add `keras.callbacks.BackupAndRestore(folder, double_checkpoint=True)`.

        Raises:
            TypeError, ValueError: images that are none (see `check_images`), other targets than
                the images, weights of images or classes, or a number that cannot be.
        """
        given = self._checked(_arguments(keras.Model.fit, self, *args, **kwargs))
        epochs, opened = check_whole("epochs", given["epochs"], 1), len(self._sources)
        share, held_out = given.pop("validation_split"), given["validation_data"]
        if held_out is not None:
            held_out = self.check(held_out, "validation_data")
        elif share := check_real(share, "validation_split"):
            x, most = given["x"], _length(given["x"]) - 1
            at = int((most + 1) * (1 - share))
            check_whole("validation_split: images left", at, 1, most)
            given["x"], held_out = _rows(x, np.s_[:at]), _rows(x, np.s_[at:])
        progress = [Progress()] if given["verbose"] == "auto" else []
        callbacks = [*tree.flatten(given["callbacks"] or []), *progress]
        chunks = self._watching(given, callbacks, epochs, given["steps_per_epoch"])
        size = given.pop("batch_size")
        if held_out is not None:
            own, own_size = self.stream.getrandbits(64), given.pop("validation_batch_size") or size
            given["validation_data"] = self._numbers(held_out, own_size, chunks, own, False)
        seed = self.stream.getrandbits(64) if seed is None else check_whole("seed", seed, 0)
        given["x"] = self._numbers(given["x"], size, chunks, seed, given.pop("shuffle"))
        try:
            return keras.Model.fit(**given, shuffle=False)
        except KeyboardInterrupt:
            for each in progress:
                each.stop()
            raise
        finally:
            del self._sources[opened:]

    def evaluate(self, *args, **kwargs) -> dict | list:
        """Keras's `evaluate` on images (n, 784); a dict, unless `return_dict` is False.

        Nothing is shown unless `verbose` is 1 or 2.

        Raises:
            TypeError, ValueError: as `fit`.
        """
        if "_use_cached_eval_dataset" in kwargs:  # Keras's `fit` asks, and has data
            return super().evaluate(*args, **kwargs)
        opened, kwargs = len(self._sources), {"return_dict": True, **kwargs}
        given = self._checked(_arguments(keras.Model.evaluate, self, *args, **kwargs))
        chunks = self._watching(given, given["callbacks"], 1, given["steps"])
        data = given["x"], given.pop("batch_size"), chunks, self.stream.getrandbits(64), False
        given["x"] = self._numbers(*data)
        try:
            return keras.Model.evaluate(**given)
        finally:
            del self._sources[opened:]
