"""The course's model does what a plain Keras model of the same network does, in any use of it.

A program is a series of uses, drawn at random: training with all kinds of options and callbacks,
evaluations, settings changed in between, a model stored and loaded. The course's model runs it
beside `Plain`, which has Keras's own `fit` and a step of one batch, written out here. Losses,
metrics, weights, the optimizer's state and all calls of callbacks must agree after each use.
"""

from helpers import fused
from helpers.fused import Batches
from helpers.training import VAE, load_vae

from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers, regularizers

# Keras says that steps_per_epoch asked for more than there is.
QUIET = pytest.mark.filterwarnings("ignore:.*ran out of data")
CONFIGURATIONS, PROGRAMS = 28, 8
X = np.random.default_rng(0).beta(0.3, 0.7, (26, 784)).astype("float32")


class Plain(keras.Model):
    """A VAE as one writes it with Keras: one batch a call."""

    def __init__(self, encoder, decoder, beta):
        super().__init__()
        self.encoder, self.decoder, self.built = encoder, decoder, True
        self.weight = tf.Variable(beta, trainable=False)
        self.means = [
            keras.metrics.Mean(n) for n in ("loss", "reconstruction_loss", "kl_divergence")
        ]

    beta = property(lambda self: float(self.weight), lambda self, beta: self.weight.assign(beta))

    @property
    def metrics(self):
        return [metric for metric in super().metrics if metric is not self._loss_tracker]

    def call(self, x, training=False):
        z = self.encoder(x, training=training)[2]
        return tf.sigmoid(tf.cast(self.decoder(z, training=training), "float32"))

    def loss_of(self, x, training):
        outputs = self.encoder(x, training=training)
        logits = tf.cast(self.decoder(outputs[2], training=training), "float32")
        mean, log_var = (tf.cast(output, "float32") for output in outputs[:2])
        pixels = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
        reconstruction = tf.reduce_mean(tf.reduce_sum(pixels, axis=1))
        kl = -0.5 * (1 + log_var - tf.square(mean) - tf.exp(log_var))
        kl = tf.reduce_mean(tf.reduce_sum(kl, axis=1))
        loss = reconstruction + self.weight * kl
        for extra in self.losses:
            loss += tf.cast(extra, "float32")
        for metric, value in zip(self.means, (loss, reconstruction, kl), strict=True):
            metric.update_state(value, sample_weight=tf.shape(x)[0])
        return loss

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.optimizer.scale_loss(self.loss_of(x, True))
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return self.get_metrics_result()

    def test_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.loss_of(x, False)
        return self.get_metrics_result()


@keras.saving.register_keras_serializable("oracle")
class Noise(layers.Layer):
    """z with a known epsilon: generators differ."""

    def call(self, inputs):
        return inputs[0] + tf.exp(inputs[1] / 2) * tf.constant([0.5, -1.2], inputs[0].dtype)


@keras.saving.register_keras_serializable("oracle")
class Halved(layers.Layer):
    """Half of what comes in while it trains, all of it else: Dropout without chance."""

    def call(self, x, training=False):
        return x / 2 if training else x


@keras.saving.register_keras_serializable("oracle")
class Counted(layers.Layer):
    """Counts its calls, one a batch."""

    def build(self, shape):
        self.calls = self.add_weight(name="calls", initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x


@keras.saving.register_keras_serializable("oracle")
class Charged(layers.Layer):
    """Adds a loss that depends on the size of a batch."""

    def call(self, x):
        self.add_loss(tf.reduce_sum(tf.square(tf.cast(x, "float32"))))
        return x


@keras.saving.register_keras_serializable("oracle")
class Metered(layers.Layer):
    """Has a metric of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.size = keras.metrics.Mean("size_of_hidden")

    def call(self, x):
        self.size.update_state(tf.abs(x))
        return x


LAYERS = {
    "none": lambda: [],
    "training mode": lambda: [Halved()],
    "batch norm": lambda: [layers.BatchNormalization(momentum=0.5)],
    "calls": lambda: [Counted()],
    "added loss": lambda: [Charged()],
    "metric": lambda: [Metered()],
    "weights' regulariser": lambda: [
        layers.Dense(5, "tanh", kernel_regularizer=regularizers.L2(0.3))
    ],
    "outputs' regulariser": lambda: [layers.Dense(5, "tanh", activity_regularizer="l2")],
    "constraint": lambda: [layers.Dense(5, "tanh", kernel_constraint="non_neg")],
    "several": lambda: [Halved(), Counted(), Charged(), layers.BatchNormalization()],
}
DECAY = optimizers.schedules.ExponentialDecay(0.02, 3, 0.5)
OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(1e-3),
    "a schedule": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(2e-3, 3, 0.5)),
    "momentum": lambda: optimizers.SGD(1e-3, momentum=0.9, nesterov=True),
    "Adam": lambda: optimizers.Adam(0.01, epsilon=0.1),
    "AdamW": lambda: optimizers.AdamW(DECAY, epsilon=0.1, weight_decay=0.1),
    "clipped": lambda: optimizers.Adam(0.01, epsilon=0.1, global_clipnorm=1.0),
    "RMSprop": lambda: optimizers.RMSprop(0.003, epsilon=0.1),
    "averaged": lambda: optimizers.SGD(
        1e-3, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3
    ),
    "accumulated": lambda: optimizers.SGD(2e-3, gradient_accumulation_steps=2),
    "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.SGD(1e-3), dynamic_growth_steps=3),
}
# With what `compile` is called, and whether that leaves many batches to one call.
COMPILED = [({}, True)] * 4 + [
    ({"jit_compile": False}, False),
    ({"run_eagerly": True}, False),
    ({"steps_per_execution": 2}, False),
]


class Epochs(keras.callbacks.Callback):
    """Writes down what it is told of epochs."""

    hooks: ClassVar[list] = [
        f"on_{what}_{end}" for what in ("train", "epoch", "test") for end in ("begin", "end")
    ]

    def __init__(self):
        super().__init__()
        self.seen = []
        for hook in self.hooks:
            setattr(self, hook, self.writing(hook))

    def writing(self, hook):
        def write(*arguments, logs=None):
            *numbers, last = (*arguments, logs) if logs is not None else arguments or (None,)
            if isinstance(last, int):
                numbers, last = [last], None
            values = {name: float(value) for name, value in (last or {}).items()}
            steps = {name: self.params[name] for name in ("steps", "epochs")}
            self.seen.append((hook, numbers, values, steps))

        return write


class Everything(Epochs):
    """Writes down batches, too."""

    hooks: ClassVar[list] = [*Epochs.hooks, *fused.HOOKS[2:]]


class Annealed(keras.callbacks.Callback):
    """The usual way to anneal the KL: beta grows with the epochs."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta = 0.5 + 2 * epoch


class AnnealedByBatch(keras.callbacks.Callback):
    """The same with the batches."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.beta = 0.5 + batch


class Stopped(keras.callbacks.Callback):
    """Stops at the second batch."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = batch >= 1


def rate(epoch, rate):
    return rate / (1 + epoch)


CALLBACKS = {
    "none": lambda _: [],
    "epochs": lambda _: [Epochs()],
    "one alone": lambda _: Epochs(),
    "annealed": lambda _: [Annealed(), Epochs()],
    "stops early": lambda _: [
        keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=0),
        Epochs(),
    ],
    "plateau": lambda _: [keras.callbacks.ReduceLROnPlateau("loss", min_delta=1e9, patience=1)],
    "stored by epoch": lambda folder: [
        keras.callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True)
    ],
    # From here on each batch must be a call.
    "batches": lambda _: [Everything()],
    "annealed by batch": lambda _: [AnnealedByBatch(), Epochs()],
    "stopped": lambda _: [Stopped(), Everything()],
    "no NaN": lambda _: [keras.callbacks.TerminateOnNaN(), Epochs()],
    "stored by batch": lambda folder: [
        keras.callbacks.ModelCheckpoint(
            folder / "{epoch}-{batch}.weights.h5", save_freq=2, save_weights_only=True
        )
    ],
}
BY_BATCH = list(CALLBACKS)[list(CALLBACKS).index("batches") :]
VALIDATIONS = [
    {}, {}, {"validation_data": X[19:]}, {"validation_data": X[19:], "validation_batch_size": 3},
    {"validation_split": 0.3}, {"validation_data": X[19:], "validation_freq": 2},
    {"validation_data": X[19:], "validation_steps": 1},
]  # fmt: skip


def networks(rng, extra):
    """Encoder and decoder with weights from `rng`."""
    x = keras.Input((784,))
    hidden = layers.Dense(5, "tanh", name="first")(x)
    for layer in extra:
        hidden = layer(hidden)
    heads = [layers.Dense(2, name=name)(hidden) for name in ("z_mean", "z_log_var")]
    encoder = keras.Model(x, [*heads, Noise()(heads)])
    z = keras.Input((2,))
    decoder = keras.Model(z, layers.Dense(784)(layers.Dense(5, "tanh")(z)))
    for weights in [*encoder.trainable_weights, *decoder.trainable_weights]:
        weights.assign(rng.normal(0, 0.7 / np.sqrt(weights.shape[0]), weights.shape))
    return encoder, decoder


class Both:
    """The two models, and how each fares in a program."""

    def __init__(self, number, kind=VAE):
        # Each kind of layer meets each kind of optimizer and of compiling in some configuration.
        names = [list(LAYERS)[number % 10], list(OPTIMIZERS)[(number // 10 * 3 + number) % 10]]
        self.options, self.fuses = COMPILED[number % len(COMPILED)]
        self.half = number % 14 == 13
        keras.config.set_dtype_policy("mixed_float16" if self.half else "float32")
        try:
            self.models = [
                build(*networks(np.random.default_rng(number), LAYERS[names[0]]()), 1.5)
                for build in (kind, Plain)
            ]
        finally:
            keras.config.set_dtype_policy("float32")
        self.fixed_rate = names[1] not in ("a schedule", "AdamW")
        for model in self.models:
            model.compile(OPTIMIZERS[names[1]](), **self.compiling(model))
            model.optimizer.build(model.trainable_variables)
        self.start = [self.state(model) for model in self.models]

    def compiling(self, model):
        plain = {"jit_compile": False} if model is self.models[1] else {}
        return plain | self.options

    def weights(self, model):
        return [*model.encoder.variables, *model.decoder.variables]

    def variables(self, model):
        return [*self.weights(model), *model.optimizer.variables]

    def state(self, model):
        return [np.array(variable) for variable in self.variables(model)]

    def reset(self):
        """Everything as it was in the beginning, still compiled."""
        for model, start in zip(self.models, self.start, strict=True):
            for variable, value in zip(self.variables(model), start, strict=True):
                variable.assign(value)
            model.beta, model.stop_training = 1.5, False

    def agree(self, results, said):
        """Both must have given the same, and be in the same state."""
        exact = 3e-2 if self.half else 3e-4
        ours, theirs = (flat(result) for result in results)
        assert ours[0] == theirs[0], said
        np.testing.assert_allclose(ours[1], theirs[1], rtol=exact, atol=exact / 10, err_msg=said)
        moved = zip(*map(self.weights, self.models), self.start[1], strict=False)  # those first
        for a, b, start in moved:
            tolerance = exact * (1e-2 + abs(b.numpy().astype("float64") - start).max())
            np.testing.assert_allclose(a, b, rtol=exact, atol=tolerance, err_msg=said)
        for a, b in zip(*(model.optimizer.variables for model in self.models), strict=True):
            tolerance = exact * (1e-2 + abs(b.numpy().astype("float64")).max())
            np.testing.assert_allclose(a, b, rtol=exact, atol=tolerance, err_msg=said)


def flat(result):
    """What is in a result but for numbers, and the numbers."""
    numbers = []

    def walk(each):
        if isinstance(each, dict):
            return {name: walk(each[name]) for name in sorted(each)}
        if isinstance(each, (list, tuple)):
            return [walk(part) for part in each]
        if isinstance(each, (float, np.floating, np.ndarray)) or tf.is_tensor(each):
            numbers.extend(np.ravel(np.asarray(each, "float64")))
            return "number"
        return each

    return walk(result), numbers


def training_use(rng, both):
    """A call of `fit` with options drawn at random, and whether one call may run many batches."""
    n, name = rng.choice([19, 16, 7]), rng.choice(list(CALLBACKS))
    if name == "plateau" and not both.fixed_rate:
        name = "annealed"
    options = {"batch_size": 4, "epochs": int(rng.integers(1, 3)), **rng.choice(VALIDATIONS)}
    if rng.random() < 0.15:
        options["steps_per_epoch"] = int(rng.integers(1, 4))
    if rng.random() < 0.15:
        options |= {"epochs": 3, "initial_epoch": 1}
    arguments = [X[:n], X[:n]] if rng.random() < 0.2 else [X[:n]]
    by_step = "steps_per_epoch" in options or "validation_steps" in options

    def use(model, folder):
        callbacks = CALLBACKS[name](folder)
        options_now = options | {"callbacks": callbacks, "shuffle": False, "verbose": 0}
        history = model.fit(*arguments, **options_now)
        seen = [each.seen for each in keras.tree.flatten([callbacks]) if isinstance(each, Epochs)]
        return history.history, history.epoch, seen, sorted(path.name for path in folder.iterdir())

    said = f"fit on {n} with {name}, {[k for k in options]}"
    return said, use, both.fuses and name not in BY_BATCH and not by_step


def small_use(rng, both):
    """Another use of a model than training it."""
    n, number = int(rng.choice([19, 16, 7])), float(rng.uniform(0.1, 4))
    steps = {"steps": 1} if rng.random() < 0.3 else {}
    listed = {"return_dict": bool(rng.integers(2)), "batch_size": 4, "verbose": 0, **steps}

    def evaluate(model, folder):
        return model.evaluate(X[:n], **listed)

    def evaluate_with_callback(model, folder):
        told = Everything()
        return told.seen, model.evaluate(
            X[:n], batch_size=4, callbacks=[told], verbose=0, return_dict=True
        )

    def change_beta(model, folder):
        model.beta = number

    def change_rate(model, folder):
        if both.fixed_rate:
            model.optimizer.learning_rate = 1e-3 * number

    def train_on_batch(model, folder):
        return model.train_on_batch(X[:5], return_dict=True)

    def test_on_batch(model, folder):
        return model.test_on_batch(X[:5])

    def predict(model, folder):
        return [model.predict(X[:6], batch_size=4, verbose=0), model.predict_on_batch(X[:2])]

    uses = [evaluate, evaluate, evaluate_with_callback, change_beta, change_beta, change_rate]
    uses += [train_on_batch, test_on_batch, predict]
    use = uses[rng.integers(len(uses))]
    chunks = both.fuses and not steps and use is not evaluate_with_callback
    return f"{use.__name__} {number:.1f} {n} {steps}", use, chunks


def last_use(rng, both):
    """What cannot be undone: a layer is frozen, or our model goes through a file."""
    frozen = rng.random() < 0.5

    def use(model, folder):
        if frozen:
            model.encoder.get_layer("first").trainable = False
            options = both.compiling(model)
            model.compile(optimizers.SGD(1e-3), **options)
            model.optimizer.build(model.trainable_variables)
        elif model is both.models[0]:
            model.save(folder / "vae.keras")
            both.models[0] = load_vae(folder / "vae.keras")
            (folder / "vae.keras").unlink()

    return "frozen" if frozen else "loaded", use, None


def run(number, programs, folder, monkeypatch, kind=VAE):
    """Run programs of a configuration on both models; how many, and how many in chunks."""
    monkeypatch.setattr(fused, "CHUNK", 8)
    cut, init = [], Batches.__init__

    def watched(self, *arguments):
        init(self, *arguments)
        cut.append(self.chunks)

    monkeypatch.setattr(Batches, "__init__", watched)
    both, done, together = Both(number, kind), 0, 0
    for program in range(programs):
        rng = np.random.default_rng([number, program])
        uses = [training_use(rng, both), small_use(rng, both), training_use(rng, both)]
        uses += [small_use(rng, both)] * bool(rng.integers(2))
        if program == programs - 1:
            uses.insert(1, last_use(rng, both))
            if uses[1][0] == "frozen":
                both.fixed_rate = True
        both.reset()
        said = f"configuration {number}, program {program}: "
        for step, (name, use, chunks) in enumerate(uses):
            said, results = f"{said}{name}; ", []
            cut.clear()
            for who, model in zip(("ours", "theirs"), list(both.models), strict=True):
                place = folder / f"{program}-{step}-{who}"
                place.mkdir()
                results.append(use(model, place))
            both.agree(results, said)
            assert set(cut) <= {chunks}, said
            together += any(cut)
        done += 1
    return done, together


@QUIET
@pytest.mark.parametrize("number", range(CONFIGURATIONS))
def test_a_program_gives_what_plain_keras_gives(number, tmp_path, monkeypatch):
    done, together = run(number, PROGRAMS, tmp_path, monkeypatch)
    assert done == PROGRAMS
    if COMPILED[number % len(COMPILED)][1]:
        assert together


def test_there_are_at_least_200_programs():
    assert CONFIGURATIONS * PROGRAMS >= 200


@keras.saving.register_keras_serializable("oracle")
class Frozen(VAE):
    """Uses the beta that it was built with."""

    def objective(self, x, training=False):
        reconstruction, kl = (tf.reduce_mean(term) for term in self.terms(x, training))
        return reconstruction + 1.5 * kl, reconstruction, kl


@keras.saving.register_keras_serializable("oracle")
class Untold(VAE):
    """Does not tell its layers that it trains."""

    def terms(self, x, training=False):
        return super().terms(x)


@keras.saving.register_keras_serializable("oracle")
class Unpenalised(VAE):
    """Leaves out what layers add to the loss."""

    losses = ()


def chunks_as_steps(self, given, *arguments):
    """Hands chunks to Keras whatever is asked of batches, so that Keras counts chunks."""
    watching(self, given, *arguments)
    return True


watching = fused.Fused._watching


@QUIET
@pytest.mark.parametrize("fault", [Frozen, Untold, Unpenalised, chunks_as_steps])
def test_the_oracle_finds_a_fault(fault, tmp_path, monkeypatch):
    kind = VAE if fault is chunks_as_steps else fault
    if fault is chunks_as_steps:
        monkeypatch.setattr(fused.Fused, "_watching", fault)
    found = []
    for number in (1, 2, 4, 6, 7):
        place = tmp_path / str(number)
        place.mkdir()
        try:
            run(number, 4, place, monkeypatch, kind)
        except AssertionError as error:
            found.append(str(error))
            break
    assert found and "configuration" in found[0]
