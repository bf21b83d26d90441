"""The fused, compiled training is Adam on single batches, told by an independent plain loop."""

from helpers import fused
from helpers import progress_line as module
from helpers.decoder import build_decoder
from helpers.encoder import build_encoder
from helpers.fused import Batches
from helpers.progress_line import Progress, progress_line
from helpers.sampling import add_sampling
from helpers.training import VAE, build_vae, compile_with_adam, load_vae

import json
import os
import signal
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

EPSILON = [0.5, -1.2]
NAMES = ["loss", "reconstruction_loss", "kl_divergence"]


class FixedNoise(keras.layers.Layer):
    """z with a known epsilon, since XLA draws other numbers from a seed than plain TensorFlow."""

    def call(self, inputs):
        """Shift each z_mean by its standard deviation times EPSILON."""
        z_mean, z_log_var = inputs
        return z_mean + ops.exp(z_log_var / 2) * ops.convert_to_tensor(EPSILON)


def build_comparable(beta=2.0, seed=1, kind=VAE):
    keras.utils.set_random_seed(seed)
    vae = kind(add_sampling(build_encoder(), FixedNoise(name="z")), build_decoder(), beta)
    vae.compile(optimizer="adam")
    return vae


def forward(weights, x, *label, epsilon=EPSILON):
    """z_mean, z_log_var and logits of floats x, and of one-hot labels, from the weights alone."""
    w1, b1, w_mean, b_mean, w_log_var, b_log_var, w2, b2, w3, b3 = weights
    hidden = tf.nn.relu(tf.concat([x, *label], axis=1) @ w1 + b1)
    mean, log_var = hidden @ w_mean + b_mean, hidden @ w_log_var + b_log_var
    z = mean + tf.sqrt(tf.exp(log_var)) * epsilon
    return mean, log_var, tf.nn.relu(tf.concat([z, *label], axis=1) @ w2 + b2) @ w3 + b3


def terms(weights, x, *label, epsilon=EPSILON):
    """Both terms of each image, from the weights alone."""
    mean, log_var, logits = forward(weights, x, *label, epsilon=epsilon)
    pixels = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
    kl = -0.5 * (1 + log_var - tf.square(mean) - tf.exp(log_var))
    return tf.reduce_sum(pixels, axis=1), tf.reduce_sum(kl, axis=1)


def train_plainly(vae, arrays, batch_size, orders):
    """Weights and mean terms an epoch of plain training, from the weights of `vae` on."""
    weights = [tf.Variable(weight) for weight in vae.get_weights()]
    adam = keras.optimizers.Adam(1e-3)
    adam.build(weights)

    @tf.function(reduce_retracing=True)
    def step(*batch):
        with tf.GradientTape() as tape:
            reconstruction, kl = terms(weights, *batch)
            loss = tf.reduce_mean(reconstruction + vae.beta * kl)
        adam.apply(tape.gradient(loss, weights))
        return tf.reduce_sum(reconstruction), tf.reduce_sum(kl)

    epochs = []
    for order in orders:
        batches = np.split(order, range(batch_size, len(order), batch_size))
        sums = [step(*[tf.constant(array[batch]) for array in arrays]) for batch in batches]
        epochs.append(np.sum(sums, axis=0) / len(order))
    return [weight.numpy() for weight in weights], np.array(epochs)


def numbered(n):
    """Images that say in their first two bytes which they are."""
    x = np.zeros((n, 784), "uint8")
    x[:, 0], x[:, 1] = np.divmod(np.arange(n), 256)
    return x


def numbers(x):
    """The numbers of `numbered` images."""
    return x[:, 0].astype("int64") * 256 + x[:, 1]


def orders_of_fit(n, batch_size, epochs, seed, fit_seed=None):
    """Which images `fit` trains on, (epochs, n), seen by a step that only writes them down."""
    seen = []

    def train_step(self, data):
        seen.extend(numbers(data[0].numpy()))
        return {"loss": 0.0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VAE, "train_step", train_step)
        vae = build_vae()
        vae.compile(run_eagerly=True)
        keras.utils.set_random_seed(seed)
        vae.fit(numbered(n), batch_size=batch_size, epochs=epochs, seed=fit_seed)
    return np.reshape(seen, (epochs, n))


def assert_all_close(arrays, others, **tolerance):
    for array, other in zip(arrays, others, strict=True):
        np.testing.assert_allclose(array, other, **tolerance)


def assert_fit_is_plain_training(vae, data, arrays, epochs, **options):
    """`fit` to `data` must do what plain training on the same as floats does."""
    batch_size, start = options.get("batch_size", 32), vae.get_weights()
    orders = orders_of_fit(len(arrays[0]), batch_size, epochs, seed=5)
    weights, means = train_plainly(vae, arrays, batch_size, orders)
    keras.utils.set_random_seed(5)
    history = vae.fit(data, epochs=epochs, **options).history
    assert vae.optimizer.iterations == -(-orders.shape[1] // batch_size) * epochs
    assert_all_close(vae.get_weights(), weights, atol=2e-5)
    for before, after in zip(start, vae.get_weights(), strict=True):
        assert abs(before - after).max() > 1e-3  # so the tolerance means something
    np.testing.assert_allclose(history["reconstruction_loss"], means[:, 0], rtol=1e-5)
    np.testing.assert_allclose(history["kl_divergence"], means[:, 1], rtol=1e-4)
    np.testing.assert_allclose(history["loss"], means @ [1, vae.beta], rtol=1e-5)


@pytest.fixture(scope="module")
def x(mnist):
    return mnist.x_train[:330]


@pytest.fixture(scope="module")
def trained(x):
    keras.utils.set_random_seed(0)
    vae = build_vae(beta=0.5)
    vae.fit(x, epochs=2)
    return vae


# 330 images in batches of 32: the last batch is cut short. 253 in batches of 2, in chunks of
# three: the last chunk holds one image.
@pytest.mark.parametrize(
    ("n", "batch_size", "epochs", "dtype"),
    [(330, 32, 2, "uint8"), (330, 32, 2, "float32"), (253, 2, 1, "uint8")],
)
def test_fit_equals_plain_training(x, n, batch_size, epochs, dtype, monkeypatch):
    if batch_size == 2:
        monkeypatch.setattr(fused, "CHUNK", 6)
    grey = x[:n].astype("float32") / 255
    images = x[:n] if dtype == "uint8" else grey
    vae = build_comparable()
    assert_fit_is_plain_training(vae, images, [grey], epochs, batch_size=batch_size)


def test_an_epoch_of_fit_trains_on_every_image_once_in_a_new_order(monkeypatch):
    monkeypatch.setattr(fused, "CHUNK", 625)
    epochs = orders_of_fit(703, batch_size=5, epochs=3, seed=0)  # two chunks, the last one padded
    np.testing.assert_array_equal(np.sort(epochs), [np.arange(703)] * 3)
    for order, other in ((epochs[0], epochs[1]), (epochs[1], epochs[2]), epochs[::2]):
        assert np.mean(order == other) < 0.05
    assert np.mean(epochs[0] == np.arange(703)) < 0.05


def test_a_seed_of_fit_fixes_the_order_whatever_the_global_one():
    seeds = ((0, 1), (2, 1), (2, 3))
    first, again, other = [orders_of_fit(70, 5, 2, seed, fit_seed) for seed, fit_seed in seeds]
    np.testing.assert_array_equal(first, again)
    assert np.mean(again == other) < 0.2
    assert np.mean(first[0] == first[1]) < 0.2


def same(x, rng):
    """What a plain VAE shows of images."""
    return x


@pytest.mark.parametrize(
    ("n", "batch_size", "steps"), [(1, 1, 125), (330, 32, 3), (10, 20, 1), (500, 2, 125), (9, 1, 2)]
)
@pytest.mark.parametrize("chunks", [True, False])
def test_elements_hold_every_image_once_and_nothing_else(n, batch_size, steps, chunks, monkeypatch):
    monkeypatch.setattr(fused, "CHUNK", steps * batch_size)
    elements = Batches(numbered(n), batch_size, chunks, 0, False, same)
    seen = []
    for i in range(len(elements)):
        if chunks:
            chunk, images = elements[i]
            assert chunk.shape[0] <= steps and chunk.shape[1:] == (batch_size, 784)
            rows = np.reshape(chunk, (-1, 784))
            assert images and not rows[images:].any()
            rows = rows[:images]
        else:
            (rows,) = (batch.numpy() for batch in elements[i])
            assert len(rows) == batch_size or i == len(elements) - 1
        assert rows.dtype == "uint8"
        seen.extend(numbers(rows))
    np.testing.assert_array_equal(seen, np.arange(n))


def test_elements_of_a_tuple_keep_its_rows_together(monkeypatch):
    monkeypatch.setattr(fused, "CHUNK", 20)
    pair = numbered(47), np.arange(47)
    cut, whole = (Batches(pair, 5, chunks, 0, True, same) for chunks in (True, False))
    assert (len(cut), len(whole)) == (3, 10)
    for _ in range(2):
        seen = []
        for i in range(3):
            (images, labels), count = cut[i]
            assert images.shape == (*labels.shape, 784)
            rows = np.reshape(images, (-1, 784))[:count]
            np.testing.assert_array_equal(numbers(rows), np.ravel(labels)[:count])
            seen.extend(np.ravel(labels)[:count])
        assert seen != sorted(seen)
        np.testing.assert_array_equal(np.sort(seen), np.arange(47))
        # One batch at a time, it is the same order.
        np.testing.assert_array_equal(np.concatenate([whole[i][0][1] for i in range(10)]), seen)


class Dimmed(VAE):
    """Takes pairs of images and brightness, by way of the two methods made to be replaced."""

    def check(self, pair, name="x"):
        """The images are checked."""
        return super().check(pair[0], name), pair[1]

    def prepare(self, pair):
        """The images are dimmed."""
        return super().prepare(pair[0]) * pair[1][:, None]


def test_a_subclass_takes_more_than_images(x):
    brightness = np.random.default_rng(0).random(330, "float32")
    plain, dimmed = build_comparable(), build_comparable(kind=Dimmed)
    pairs = [(plain, x / np.float32(255) * brightness[:, None]), (dimmed, (x, brightness))]
    histories = [vae.fit(data, seed=1, validation_data=data).history for vae, data in pairs]
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(*[history[name] for history in histories], rtol=1e-5)
    np.testing.assert_allclose(*[vae.evaluate(data)["loss"] for vae, data in pairs], rtol=1e-5)
    assert_all_close(plain.get_weights(), dimmed.get_weights(), atol=2e-5)
    with pytest.raises(ValueError, match=r"^validation_data: expected shape"):
        dimmed.fit((x, brightness), validation_data=(x[:, 1:], brightness))


def test_evaluate_equals_a_direct_computation(x):
    vae = build_comparable()
    reconstruction, kl = terms(vae.get_weights(), x.astype("float32") / 255)
    direct = [np.mean(reconstruction) + 2 * np.mean(kl), np.mean(reconstruction), np.mean(kl)]
    for images, batch_size in ((x, 32), (x, 1), (x, 1000), (x / 255.0, 32)):
        result = vae.evaluate(images, batch_size=batch_size)
        np.testing.assert_allclose([result[name] for name in NAMES], direct, rtol=1e-5)


def test_evaluate_equals_a_direct_computation_over_the_noise(trained, x):
    draws, n = 40, len(x)
    epsilon = np.random.default_rng(0).normal(size=(draws, n, 2)).astype("float32")
    grey = x.astype("float32") / 255
    pairs = [terms(trained.get_weights(), grey, epsilon=e) for e in epsilon]
    reconstruction = np.array([r.numpy() for r, _ in pairs], "float64")
    error = np.sqrt(reconstruction.var(axis=0).mean() / n * (1 + 1 / draws))
    result = trained.evaluate(x)
    assert result["reconstruction_loss"] == pytest.approx(reconstruction.mean(), abs=5 * error)
    assert result["kl_divergence"] == pytest.approx(np.mean(pairs[0][1]), rel=1e-5)
    total = result["reconstruction_loss"] + 0.5 * result["kl_divergence"]
    assert result["loss"] == pytest.approx(total, rel=1e-6)


def test_calling_the_model_gives_the_probability_of_ink(x):
    vae, grey = build_comparable(), x.astype("float32") / 255
    p = vae(grey).numpy().astype("float64")
    assert p.shape == (330, 784)
    expected, _ = terms(vae.get_weights(), grey)
    cost = -(grey * np.log(p) + (1 - grey) * np.log(1 - p)).sum(axis=1)
    np.testing.assert_allclose(cost, expected, rtol=1e-5)


def test_keras_callbacks_and_history(mnist, x):
    keras.utils.set_random_seed(0)
    vae = build_vae()
    traces, after_epoch = [], []
    terms = vae.terms
    vae.terms = lambda *batch: (traces.append(1), terms(*batch))[1]
    callbacks = [
        keras.callbacks.EarlyStopping("val_loss", min_delta=1e9, patience=2),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: after_epoch.append(len(traces))),
    ]
    history = vae.fit(x, epochs=9, validation_data=mnist.x_val[:70], callbacks=callbacks)
    assert history.epoch == [0, 1, 2]  # patience 2 after the first
    assert set(history.history) == {prefix + name for prefix in ("", "val_") for name in NAMES}
    assert history.history["val_loss"][2] < history.history["val_loss"][0]
    kl = vae.evaluate(mnist.x_val[:70])["kl_divergence"]
    assert kl == pytest.approx(history.history["val_kl_divergence"][2], rel=1e-5)
    # Compiled in the first epoch and never again, not even by another `fit`.
    assert 1 <= after_epoch[0] and after_epoch[1] == after_epoch[2]
    vae.fit(x)
    assert len(traces) == after_epoch[2]


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_stop_while_it_compiles_waits_for_tensorflow(x, monkeypatch, method):
    vae, traced = build_vae(), []
    terms, handler = vae.terms, signal.getsignal(signal.SIGINT)

    def interrupted(*batch):
        signal.raise_signal(signal.SIGINT)
        values = terms(*batch)
        traced.append(True)
        return values

    monkeypatch.setattr(vae, "terms", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(vae, method)(x)
    assert traced and signal.getsignal(signal.SIGINT) is handler
    monkeypatch.undo()
    vae.fit(x)
    assert 150 < vae.evaluate(x)["loss"] < 600


def test_compiling_again_takes_effect(x):
    vae = build_comparable()
    vae.fit(x)
    start, before = vae.get_weights(), vae.optimizer
    vae.compile(optimizer=keras.optimizers.SGD(0.0))
    vae.fit(x)
    assert vae.optimizer.iterations == 11
    assert before.iterations == 11
    np.testing.assert_equal(start, vae.get_weights())


def test_a_seed_fixes_weights_and_history(x):
    histories, weights = [], []
    for _ in range(2):
        keras.utils.set_random_seed(4)
        vae = build_vae()
        histories.append(vae.fit(x[:70], epochs=2).history)
        weights.append(vae.get_weights())
    assert histories[0] == histories[1]
    np.testing.assert_equal(*weights)
    keras.utils.set_random_seed(5)
    assert not np.isclose(build_vae().get_weights()[0], weights[0][0]).all()


def test_a_model_cut_short_or_altered_is_refused(trained, tmp_path):
    """Whatever byte is missing or another one, no model comes with other weights."""
    path = tmp_path / "vae.keras"
    trained.save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    said = r"^path: vae\.keras is .*; restore it, or train again"
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(OSError, match=said):
            load_vae(path)
    refused = 0
    for at in rng.integers(len(whole), size=40):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.integers(8)]) + whole[at + 1 :])
        try:
            loaded = load_vae(path)
        except OSError as error:
            refused += "path: vae.keras is " in str(error)
            continue
        np.testing.assert_equal(loaded.get_weights(), trained.get_weights())
    assert refused > 35
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"^path: vae\.keras is missing; restore it"):
        load_vae(path)


def replace_encoder(path, encoder):
    """Put another configuration of the encoder into a stored model, checksums and all."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["encoder"] = encoder
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


@pytest.mark.parametrize("how", ["a Lambda layer", "a function of Python", "a layer of a stranger"])
def test_loading_runs_no_code_of_the_file(tmp_path, how, monkeypatch):
    monkeypatch.setenv("RAN", "")
    path = tmp_path / "vae.keras"
    if how == "a Lambda layer":
        x = keras.Input((784,))
        ran = keras.layers.Lambda(lambda x: os.environ.update(RAN="yes") or x)(x)
        keras.Model(x, ran).save(path)
        monkeypatch.setenv("RAN", "")
    else:
        build_vae(seed=1).save(path)
        code = "__import__('os').environ.update(RAN='yes')"
        stranger = {
            "a function of Python": {"module": "builtins", "class_name": "eval", "config": code},
            "a layer of a stranger": {"module": "stranger", "class_name": "Layer", "config": {}},
        }[how]
        (tmp_path / "stranger.py").write_text("import os\nos.environ['RAN'] = 'yes'\n", "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        replace_encoder(path, stranger)
    with pytest.raises(OSError, match=r"^path: vae\.keras is damaged, or not to be trusted"):
        load_vae(path)
    assert not os.environ["RAN"]


def test_another_model_is_no_vae(tmp_path):
    build_decoder().save(tmp_path / "decoder.keras")
    with pytest.raises(OSError, match=r"^path: decoder\.keras is a Functional, not a VAE"):
        load_vae(tmp_path / "decoder.keras")


def test_saved_and_loaded_in_safe_mode(trained, x, tmp_path):
    trained.save(tmp_path / "vae.keras")
    loaded = load_vae(tmp_path / "vae.keras")
    grey = x.astype("float32") / 255
    z_mean = trained.encoder(grey)[0]
    np.testing.assert_array_equal(loaded.encoder(grey)[0], z_mean)
    np.testing.assert_array_equal(loaded.decoder(z_mean), trained.decoder(z_mean))
    assert loaded.beta == 0.5
    assert loaded.optimizer.iterations == trained.optimizer.iterations > 0
    slots = [[slot.numpy() for slot in vae.optimizer.variables] for vae in (trained, loaded)]
    np.testing.assert_equal(*slots)
    before = loaded.evaluate(x)["loss"]
    loaded.fit(x, epochs=2)
    assert loaded.optimizer.iterations == trained.optimizer.iterations + 22
    assert loaded.evaluate(x)["loss"] < before


def test_parameters_and_defaults():
    vae = build_vae()
    assert vae.count_params() == 101_652
    assert vae.beta == 1
    assert isinstance(vae.optimizer, keras.optimizers.Adam)
    assert float(vae.optimizer.learning_rate) == pytest.approx(1e-3)


def test_adam_comes_built_and_with_a_learning_rate_of_choice():
    vae = VAE(add_sampling(build_encoder()), build_decoder())
    assert compile_with_adam(vae, 0.25) is vae
    assert float(vae.optimizer.learning_rate) == 0.25
    assert len(vae.optimizer.variables) == 2 + 2 * len(vae.trainable_variables)


@pytest.fixture
def lines(monkeypatch):
    """The list of lines that a notebook will have shown."""
    lines = []

    def update(data, raw):
        lines.append(data["text/plain"])

    def display(data, raw, display_id):
        update(data, raw)
        return SimpleNamespace(update=update)

    monkeypatch.setattr(module, "display", display)
    return lines


def test_progress_is_one_line(lines, monkeypatch):
    monkeypatch.setattr(module, "get_ipython", object)
    progress = Progress()
    progress.set_params({"epochs": 4})
    progress.on_train_begin()
    progress.on_epoch_end(0, {"loss": 1.234, "kl_divergence": 3})
    progress.on_epoch_end(3, {"loss": 1.2, "val_loss": 2})
    assert len(lines) == 3
    assert lines[1].endswith("epoch 1 of 4: loss 1.23")
    assert lines[1].count("█") == 5
    assert lines[2].endswith("epoch 4 of 4: loss 1.20, val_loss 2.00")
    assert lines[2].count("█") == 20


def test_a_progress_line_tells_what_is_done(lines, monkeypatch):
    monkeypatch.setattr(module, "get_ipython", object)
    update = progress_line("starting ...", "model")
    assert lines == ["starting ..."]
    update(0, 8)
    update(2, 8, ", the easy ones")
    assert lines[1] == "░" * 20 + " model 0 of 8"
    assert lines[2:] == ["█████" + "░" * 15 + " model 2 of 8, the easy ones"]


def test_outside_of_a_notebook_no_progress_line_is_shown(lines):
    progress_line("starting ...", "model")(1, 8)
    assert not lines


@pytest.mark.parametrize(
    ("in_notebook", "kwargs", "bars"), [(True, {}, 1), (True, {"verbose": 2}, 0), (False, {}, 0)]
)
def test_progress_is_shown_in_notebooks_alone(lines, monkeypatch, x, in_notebook, kwargs, bars):
    monkeypatch.setattr(module, "get_ipython", lambda: object() if in_notebook else None)
    build_vae().fit(x, **kwargs)
    assert len(lines) == 2 * bars


BAD_IMAGES = [
    *((np.zeros(shape, "uint8"), ValueError) for shape in ((2, 28, 28), (2, 100), (0, 784))),
    *((np.full((2, 784), value), ValueError) for value in (np.nan, 1.5, -0.5)),
    (np.zeros((2, 784), "int32"), TypeError),
]


@pytest.mark.parametrize(("images", "error"), BAD_IMAGES)
def test_bad_images_are_rejected(trained, x, images, error):
    for method in (trained.fit, trained.evaluate):
        with pytest.raises(error, match=r"^x: expected"):
            method(images)
    with pytest.raises(error, match=r"^validation_data: expected"):
        trained.fit(x, validation_data=images)


@pytest.mark.parametrize("batch_size", [0, -1, True, 32.0, "32"])
def test_bad_batch_size_is_rejected(trained, x, batch_size):
    for method in (trained.fit, trained.evaluate):
        with pytest.raises(ValueError, match=r"^batch_size: expected a whole number"):
            method(x, batch_size=batch_size)


@pytest.mark.parametrize("beta", [-1, np.nan, True, "1"])
def test_bad_beta_is_rejected(beta):
    with pytest.raises(ValueError, match=r"^beta: expected"):
        build_vae(beta=beta)


@pytest.mark.parametrize("latent_dim", [0, True, 2.0])
def test_bad_latent_dim_is_rejected(latent_dim):
    with pytest.raises(ValueError, match=r"^latent_dim: expected"):
        build_vae(latent_dim)


def test_parts_that_do_not_fit_are_rejected():
    with pytest.raises(ValueError, match=r"^encoder: expected three outputs"):
        VAE(build_encoder(), build_decoder())
    with pytest.raises(ValueError, match=r"^decoder: expected a decoder of 3 latent dimensions"):
        VAE(add_sampling(build_encoder(3)), build_decoder(2))
