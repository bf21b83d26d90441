"""Seconds an epoch, memory and loss of the source's model, trained in several ways.

Run by `make benchmark`. Each row runs in a process of its own, the rows take turns, and
the table shows medians over the rounds: one machine's seconds mean little, the ratios
more. The first epoch, which compiles, is left out of the times.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

BATCH = 32
BETAS = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]  # the models of the sweep
Result = tuple[list[float], float]  # seconds of each epoch, mean loss of the last (nats an image)


def timed_fit(model: object, *arguments: np.ndarray, epochs: int) -> Result:
    """One `fit` over all epochs, timed by a callback."""
    import keras

    class Clock(keras.callbacks.Callback):
        seconds: tuple[float, ...] = ()

        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            self.seconds += (time.perf_counter() - self.start,)

    clock, options = Clock(), {"batch_size": BATCH, "epochs": epochs, "verbose": 0}
    history = model.fit(*arguments, callbacks=[clock], **options).history
    return list(clock.seconds), history["loss"][-1]


def timed_loop(epoch: Callable[[], float], epochs: int) -> Result:
    """The same for a function that does one epoch and returns its loss."""
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        loss = epoch()
        seconds.append(time.perf_counter() - start)
    return seconds, loss


def plain_model(beta: float = 2.0, noise_std: float = 0.1, exponent: float = 1.0) -> object:
    """The source's model for Keras's own `fit`; noise 1, exponent 1/2 make it the course's."""
    import keras
    from keras import layers, ops

    class Sampling(layers.Layer):
        """Draws z, and adds the KL term, which needs both heads."""

        def __init__(self) -> None:
            super().__init__()
            self.noise = keras.random.SeedGenerator()

        def call(self, inputs: list) -> object:
            z_mean, s = inputs
            kl = -0.5 * ops.sum(1 + s - ops.square(z_mean) - ops.exp(s), axis=1)
            self.add_loss(beta * ops.mean(kl))
            noise = keras.random.normal(ops.shape(z_mean), stddev=noise_std, seed=self.noise)
            return z_mean + ops.exp(exponent * s) * noise

    inputs = keras.Input((784,))
    hidden = layers.Dense(64, activation="relu")(inputs)
    z = Sampling()([layers.Dense(2)(hidden), layers.Dense(2)(hidden)])
    hidden = layers.Dense(64, activation="relu")(z)
    model = keras.Model(inputs, layers.Dense(784, activation="sigmoid")(hidden))
    model.compile("adam", loss=lambda y, p: 784 * keras.losses.binary_crossentropy(y, p))
    return model


def plain(x: np.ndarray, seed: int, epochs: int) -> Result:
    """The source's model under Keras's own `fit`, on float arrays, one call a batch."""
    import keras

    keras.utils.set_random_seed(seed)
    x = x.astype("float32") / 255
    return timed_fit(plain_model(), x, x, epochs=epochs)


def course(x: np.ndarray, seed: int, epochs: int) -> Result:
    """The same model under the course's `fit`, on bytes, many batches a call."""
    from helpers.published import build_published_vae

    import keras

    keras.utils.set_random_seed(seed)
    return timed_fit(build_published_vae(), x, epochs=epochs)


def jax_scan(x: np.ndarray, seed: int, epochs: int) -> Result:
    """The same model in JAX, a whole epoch in one compiled scan."""
    import jax
    import jax.numpy as jnp

    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    shapes = [(784, 64), (64, 4), (2, 64), (64, 784)]
    limits = [np.sqrt(6 / (n + m)) for n, m in shapes]
    limits[1] = np.sqrt(6 / (64 + 2))  # two heads side by side, each started as Keras does
    weights = [rng.uniform(-a, a, s).astype("float32") for a, s in zip(limits, shapes, strict=True)]
    parameters = [(w, jnp.zeros(w.shape[1])) for w in map(jnp.asarray, weights)]
    zeros = jax.tree.map(jnp.zeros_like, parameters)

    def loss_of(parameters: list, x: jax.Array, epsilon: jax.Array) -> jax.Array:
        (w1, b1), (w2, b2), (w3, b3), (w4, b4) = parameters
        z_mean, s = jnp.split(jax.nn.relu(x @ w1 + b1) @ w2 + b2, 2, axis=1)
        z = z_mean + jnp.exp(s) * 0.1 * epsilon
        logits = jax.nn.relu(z @ w3 + b3) @ w4 + b4
        reconstruction = jnp.sum(jax.nn.softplus(logits) - x * logits, axis=1)
        kl = 0.5 * jnp.sum(jnp.exp(s) + z_mean**2 - 1 - s, axis=1)
        return jnp.mean(reconstruction + 2 * kl)

    def step(state: tuple, batch: tuple) -> tuple:
        parameters, first, second, count = state
        images, epsilon = batch
        x = images.astype("float32") / 255
        loss, slopes = jax.value_and_grad(loss_of)(parameters, x, epsilon)
        count += 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slopes)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, slopes)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), parameters, first, second
        )
        return (parameters, first, second, count), loss

    @jax.jit
    def scan(state: tuple, images: jax.Array, key: jax.Array) -> tuple:
        noise = jax.random.normal(key, (*images.shape[:2], 2))
        return jax.lax.scan(step, state, (images, noise))

    state, steps = (parameters, zeros, zeros, 0.0), len(x) // BATCH

    def epoch() -> float:
        nonlocal state, key
        key, draw = jax.random.split(key)
        order = rng.permutation(len(x))[: steps * BATCH]
        state, losses = scan(state, x[order].reshape(steps, BATCH, 784), draw)
        return float(losses.mean())

    return timed_loop(epoch, epochs)


def products(x: np.ndarray, seed: int, epochs: int) -> Result:
    """No training: the matrix products of each step alone, in NumPy. A bound from below."""
    rng = np.random.default_rng(seed)
    shapes = [(784, 64), (64, 4), (2, 64), (64, 784)]
    layers = [(rng.random((BATCH, n), "f"), rng.random((n, m), "f")) for n, m in shapes]
    slopes = [rng.random((BATCH, m), "f") for _, m in shapes]

    def epoch() -> float:
        for _ in range(-(-len(x) // BATCH)):
            for i, ((inputs, weights), slope) in enumerate(zip(layers, slopes, strict=True)):
                inputs @ weights  # forward
                inputs.T @ slope  # the weights' gradient
                if i:
                    slope @ weights.T  # the inputs' gradient, not needed for the pixels
        return float("nan")

    return timed_loop(epoch, epochs)


def plain_sweep(x: np.ndarray, seed: int, epochs: int) -> Result:
    """A model for each of BETAS, one after the other, under Keras's own `fit`: all seconds."""
    start = time.perf_counter()
    x = x[:55_000].astype("float32") / 255
    for beta in BETAS:
        model = plain_model(beta, noise_std=1.0, exponent=0.5)
        loss = timed_fit(model, x, x, epochs=epochs)[1]
    return [time.perf_counter() - start], loss


def course_sweep(x: np.ndarray, seed: int, epochs: int) -> Result:
    """The same models by the course's `sweep` on this machine's cores: all seconds."""
    from helpers.beta import Setting, train
    from helpers.sweep import sweep

    start = time.perf_counter()
    settings = [Setting(beta, seed, epochs, images=min(len(x), 55_000)) for beta in BETAS]
    runs = sweep(train, settings)
    return [time.perf_counter() - start], runs[settings[-1]]["history"]["loss"][-1]


ROWS: dict[str, Callable[[np.ndarray, int, int], Result]] = {
    "plain Keras fit": plain,
    "the course's fit": course,
    "JAX, scan": jax_scan,
    "matrix products alone": products,
}
SWEEPS: dict[str, Callable[[np.ndarray, int, int], Result]] = {
    "plain fit, one by one": plain_sweep,
    "the course's sweep": course_sweep,
}


def peak_memory() -> float:
    """The most memory, in GB, that this process has held."""
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def measure(row: str, images: int, epochs: int, seed: int) -> dict[str, float]:
    """Run one row in this process."""
    from helpers.data import load_mnist

    x = load_mnist(validation=0).x_train[:images].copy()
    seconds, loss = {**ROWS, **SWEEPS}[row](x, seed, epochs)
    first = 1 if row in ROWS else 0  # the first epoch compiles; a sweep is timed as a whole
    return {"seconds": statistics.median(seconds[first:]), "memory": peak_memory(), "loss": loss}


def medians(rows: list[str], rounds: int, options: argparse.Namespace) -> dict[str, dict]:
    """Measure each row in a process of its own, in turns; the medians over the rounds."""
    results: dict[str, list[dict[str, float]]] = {row: [] for row in rows}
    for seed in range(rounds):
        for row in rows:
            print(f"round {seed + 1}: {row}", file=sys.stderr)
            # The helpers ask for one thread an operation; plain Keras gets what it has by default.
            default = {"TF_NUM_INTRAOP_THREADS": "0", "TF_ENABLE_ONEDNN_OPTS": "1"}
            command = [sys.executable, __file__, "--row", row, "--seed", seed]
            for name in ("images", "epochs", "models"):
                command += [f"--{name}", getattr(options, name)]
            run = subprocess.run(
                [str(part) for part in command],
                env={**os.environ, **(default if row.startswith("plain") else {})},
                capture_output=True,
                text=True,
            )
            if run.returncode:
                sys.exit(f"{row} failed:\n{run.stderr}")
            results[row].append(json.loads(run.stdout.splitlines()[-1]))
    return {
        row: {key: statistics.median(result[key] for result in runs) for key in runs[0]}
        for row, runs in results.items()
    }


def main() -> None:
    """Measure all rows and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=int, default=len(BETAS), help="of the sweep, at most 8")
    parser.add_argument("--row", choices=[*ROWS, *SWEEPS], help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs: expected at least 2, since the first one compiles")
    if not 1 <= options.models <= len(BETAS):
        parser.error(f"--models: expected 1 to {len(BETAS)}, got {options.models}")
    del BETAS[options.models :]
    if options.row:
        print(json.dumps(measure(options.row, options.images, options.epochs, options.seed)))
        return
    rows = [row for row in ROWS if row != "JAX, scan" or importlib.util.find_spec("jax")]
    table = medians(rows, options.rounds, options)
    slowest, bound = table["plain Keras fit"], table["matrix products alone"]
    print(f"\n{'':22} s an epoch   times faster   times the    peak     loss after")
    print(f"{'':22}              than plain     products     memory   {options.epochs} epochs")
    for row, m in table.items():
        loss = f"{m['loss']:10.1f}" if m["loss"] == m["loss"] else "         -"
        print(
            f"{row:22} {m['seconds']:10.2f} {slowest['seconds'] / m['seconds']:14.1f}"
            f" {m['seconds'] / bound['seconds']:11.1f} {m['memory']:10.2f} GB {loss}"
        )
    table = medians(list(SWEEPS), max(1, options.rounds // 2), options)
    slowest = table["plain fit, one by one"]
    print(f"\n{len(BETAS)} models in all         seconds   times faster")
    for row, m in table.items():
        print(f"{row:22} {m['seconds']:9.1f} {slowest['seconds'] / m['seconds']:14.1f}")


if __name__ == "__main__":
    main()
