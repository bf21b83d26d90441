"""What users of Keras do with a model works here as there, or is refused in one sentence."""

from helpers import beta, conditional, evaluation, explorer, figures, vae_figure
from helpers import visualization as vis
from helpers.beta import BetaVAE, Setting, draw_weights
from helpers.conditional import build_conditional_vae
from helpers.data import load_mnist, scale
from helpers.decoder import build_decoder, compose, decode
from helpers.deeper import DeepSetting, build_deep_vae
from helpers.encoder import build_encoder
from helpers.evaluation import binarise, build_binary_vae, exact_log_likelihood
from helpers.published import audit, build_published_vae
from helpers.sampling import Sampling, add_sampling
from helpers.sweep import sweep
from helpers.training import VAE, build_vae, compile_with_adam, load_vae
from tests.repository import ROOT

import re
import subprocess
import sys
import threading
from functools import partial

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

NAMES = ["loss", "reconstruction_loss", "kl_divergence"]
INK = np.zeros((3, 784), "uint8")
INK[:, 100:300] = 1


@pytest.fixture(scope="module")
def x():
    return load_mnist().x_train[:320]


def with_layer(*layers_after, **dense):
    """A VAE whose encoder has a Dense layer made with `dense`, and further layers after it."""
    x = keras.Input((784,))
    hidden = layers.Dense(64, "relu", **dense)(x)
    for layer in layers_after:
        hidden = layer(hidden)
    heads = [layers.Dense(2, name=name)(hidden) for name in ("z_mean", "z_log_var")]
    vae = VAE(add_sampling(keras.Model(x, heads), Sampling(1)), build_decoder())
    vae.compile("adam")
    return draw_weights(vae, 0)


def tracing(vae):
    """A list that grows whenever a step of `vae` is traced."""
    traces, terms = [], vae.terms
    vae.terms = lambda *batch: (traces.append(1), terms(*batch))[1]
    return traces


class Annealed(keras.callbacks.Callback):
    """The usual callback for a KL that comes slowly."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta = 10.0 * epoch


# A setting changed after the first call


@pytest.mark.parametrize("build", [build_vae, build_published_vae, build_binary_vae])
def test_another_beta_counts_at_once_and_compiles_nothing(x, build):
    vae = build(seed=1)
    vae.beta = 1.0
    traces = tracing(vae)
    vae.fit(x, validation_data=x)
    compiled = len(traces)
    vae.beta = 100.0
    history = vae.fit(x, epochs=3, validation_data=x).history
    for prefix in ("", "val_"):
        loss, reconstruction, kl = (np.array(history[prefix + name]) for name in NAMES)
        np.testing.assert_allclose(loss, reconstruction + 100 * kl, rtol=1e-5)
    assert history["kl_divergence"][-1] < 0.2 * history["kl_divergence"][0]
    assert len(traces) == compiled
    result = vae.evaluate(x)
    expected = result["reconstruction_loss"] + 100 * result["kl_divergence"]
    assert result["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_callback_anneals_beta(x):
    history = build_vae(seed=1).fit(x, epochs=3, callbacks=[Annealed()]).history
    loss, reconstruction, kl = (np.array(history[name]) for name in NAMES)
    np.testing.assert_allclose(loss, reconstruction + [0, 10, 20] * kl, rtol=1e-5)


def test_beta_of_a_model_with_knobs_and_of_one_with_labels_counts_at_once(x):
    labelled = build_conditional_vae(seed=1), (x, load_mnist().y_train[:320])
    knobs = BetaVAE(Setting(seed=1)), x
    knobs[0].compile("adam")
    for vae, data in (labelled, knobs):
        vae.fit(data)
        vae.beta = 50.0
        for result in (vae.evaluate(data), {k: v[0] for k, v in vae.fit(data).history.items()}):
            expected = result["reconstruction_loss"] + 50 * result["kl_divergence"]
            assert result["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("bad", [-1, "1", None, np.nan, tf.constant(1.0)])
def test_a_bad_beta_is_refused_and_the_old_one_stays(bad):
    vae = build_vae(beta=3.0)
    with pytest.raises(ValueError, match=r"^beta: expected"):
        vae.beta = bad
    assert vae.beta == 3.0


def test_a_noise_that_is_changed_is_the_noise_of_all(x):
    """Everything must be as in a model built with the new value."""
    old, new = (draw_weights(build_published_vae(noise, seed=1), 0) for noise in (0.1, 2.0))
    audit(old, x)  # compiles the old value
    old.encoder.get_layer("z").noise_std = 2.0
    for vae in (old, new):
        vae.encoder.get_layer("z").noise.state.assign([1, 0])
    first, second = audit(old, x), audit(new, x)
    assert first == pytest.approx(second, rel=1e-6)
    assert old.encoder.get_layer("z").get_config()["noise_std"] == 2.0


# Layers


def test_dropout_drops_in_training_alone(x):
    vae, plain = with_layer(layers.Dropout(0.9)), with_layer()
    losses = [model.fit(x, epochs=8).history["loss"][-1] for model in (vae, plain)]
    assert losses[0] > losses[1] + 5  # nothing of the image comes through
    before = vae.encoder(scale(x))[0]
    np.testing.assert_array_equal(before, vae.encoder(scale(x))[0])
    assert np.std(before) > 0.01


def test_a_model_all_frozen_says_so_and_keeps_its_weights(x):
    vae = build_vae(seed=1)
    vae.encoder.trainable = vae.decoder.trainable = False
    vae.compile("adam")
    before = vae.get_weights()
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        vae.fit(x)
    np.testing.assert_equal(before, vae.get_weights())


def test_losses_of_layers_are_added(x):
    vae = with_layer(kernel_regularizer=keras.regularizers.L2(10.0))
    history = vae.fit(x, epochs=5).history
    penalty = float(10 * tf.reduce_sum(vae.encoder.layers[1].kernel ** 2))
    result = vae.evaluate(x)
    terms = result["reconstruction_loss"] + result["kl_divergence"]
    assert result["loss"] - terms == pytest.approx(penalty, rel=1e-3)
    assert history["loss"][0] > history["reconstruction_loss"][0] + 100
    free = with_layer()
    free.fit(x, epochs=5)
    assert penalty < 0.95 * float(10 * tf.reduce_sum(free.encoder.layers[1].kernel ** 2))


def test_scaling_the_loss_changes_nothing(x):
    losses = []
    for wrap in (lambda sgd: sgd, keras.optimizers.LossScaleOptimizer):
        vae = draw_weights(build_vae(seed=1), 0)
        vae.compile(wrap(keras.optimizers.SGD(1e-3)))
        losses.append(vae.fit(x, epochs=2, seed=1).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert losses[0][1] < losses[0][0]


@pytest.fixture
def half():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def test_mixed_precision_trains_and_evaluates_as_float32_does(x, half, tmp_path):
    vae = draw_weights(build_vae(seed=1), 0)
    assert isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)
    history = vae.fit(x, epochs=12).history
    assert history["loss"][-1] < 300
    keras.config.set_dtype_policy("float32")
    plain = build_vae()
    plain.set_weights(vae.get_weights())
    binary = binarise(x[:40], 0)
    exact = [exact_log_likelihood(model.decoder, binary, step=0.2) for model in (vae, plain)]
    np.testing.assert_allclose(*exact, atol=1)
    for model in (vae, plain):
        assert model.predict(x, verbose=0).dtype == "float32"
    ours, theirs = (model.evaluate(x) for model in (vae, plain))
    assert ours == pytest.approx(theirs, rel=0.02)
    vae.save(tmp_path / "half.keras")
    assert load_vae(tmp_path / "half.keras").fit(x).history["loss"][0] < 300


# Doors


DOORS = {
    "fit": lambda vae, x: vae.fit(x, seed=3),
    "validation_data": lambda vae, x: vae.fit(X8, validation_data=x, seed=3),
    "evaluate": lambda vae, x: vae.evaluate(x),
    "predict": lambda vae, x: vae.predict(x, verbose=0),
    "predict_on_batch": lambda vae, x: vae.predict_on_batch(x),
    "train_on_batch": lambda vae, x: vae.train_on_batch(x),
    "test_on_batch": lambda vae, x: vae.test_on_batch(x),
    "a call": lambda vae, x: vae(x),
    "encoder": lambda vae, x: vae.encoder(x),
    "encoder.predict_on_batch": lambda vae, x: vae.encoder.predict_on_batch(x),
    "encoder.predict": lambda vae, x: vae.encoder.predict(x, verbose=0),
    "binarise": lambda vae, x: binarise(x, 0),
    "scale": lambda vae, x: scale(x),
    "audit": lambda vae, x: audit(vae, x),
    "explore": lambda vae, x: explorer.explore(vae, x, np.arange(len(x)) % 10),
    "plot_rows": lambda vae, x: vis.plot_rows([x], ["row"]),
}
BINARY = {
    "exact": lambda vae, x: exact_log_likelihood(vae.decoder, x, step=0.5),
    "log_joint": lambda vae, x: evaluation.log_joint(vae.decoder, x, np.zeros((2, 2))),
    "log_weights": lambda vae, x: evaluation.log_weights(vae, x, 2, 0),
}
X8 = load_mnist().x_train[:8]
GREY = np.round(scale(X8) * 8) / 8  # eighths: half floats hold them
BAD = [GREY * 255, GREY - 1.0, np.where(GREY > 0.5, np.nan, GREY), GREY.reshape(8, 28, 28)]
BAD += [GREY[:, :700], INK, INK.astype("int32"), "a picture", None]


def numbers(result):
    """All numbers of a result, one after the other."""
    if isinstance(result, keras.callbacks.History):
        result = result.history
    if isinstance(result, explorer.Explorer):
        result = np.frombuffer(result.codes, "<f4")
    result = [] if result is None else result
    return np.concatenate([np.ravel(each) for each in keras.tree.flatten(result)] or [[]])


@pytest.fixture(scope="module")
def model():
    vae = draw_weights(build_published_vae(seed=1), 0)
    variables = [*vae.variables, *vae.optimizer.variables]
    start = [np.array(variable) for variable in variables]

    def fresh():
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        return vae

    return fresh


@pytest.mark.parametrize("door", [*DOORS, *BINARY])
def test_a_door_gives_what_it_gives_for_floats(door, model):
    call = DOORS.get(door) or BINARY[door]
    plain = GREY if door in DOORS else np.round(GREY)
    expected = numbers(call(model(), plain.astype("float32")))
    kinds = [plain.astype("float64"), plain.astype("float16"), tf.constant(plain)]
    kinds += [] if "encoder" in door or door == "a call" else [list(plain)]
    if door in BINARY:
        kinds.append((255 * plain).astype("uint8"))
    for kind in kinds:
        np.testing.assert_allclose(numbers(call(model(), kind)), expected, rtol=1e-4, atol=1e-5)
    as_bytes = np.round(255 * scale(X8)).astype("uint8")
    if door in DOORS and door not in ("scale", "binarise"):
        expected = numbers(call(model(), scale(X8)))
        for kind in (as_bytes, tf.constant(as_bytes)):
            np.testing.assert_allclose(numbers(call(model(), kind)), expected, rtol=1e-4, atol=1e-5)
    plt.close("all")


@pytest.mark.parametrize("door", [*DOORS, *BINARY])
@pytest.mark.parametrize("bad", range(len(BAD)))
def test_a_door_names_what_is_no_image(door, bad, model):
    if BAD[bad] is None and door in ("validation_data", "explore"):
        return  # no images are none to validate on, and have no digits
    call = DOORS.get(door) or BINARY[door]
    named = r"^(x|x_test|rows|validation_data): expected"
    if door in ("a call", "encoder"):  # Keras wraps what a layer says, and checks shapes itself
        named = r"x: expected|'x'|Inputs to a layer|Only input tensors"
    with pytest.raises((ValueError, TypeError), match=named):
        call(model(), BAD[bad])
    plt.close("all")


def test_bytes_of_0_and_1_are_no_digits_of_hardly_any_ink():
    with pytest.raises(ValueError, match=r"^x: expected bytes that count from 0 to 255, got only"):
        binarise(INK, 0)
    assert binarise(255 * INK, 0).mean() == 255 * INK.mean()
    assert scale(np.zeros((2, 784), "uint8")).max() == 0


def test_the_model_with_labels_takes_bytes_and_digits_anywhere(x):
    vae, y = build_conditional_vae(seed=1), load_mnist().y_train[:320]
    hot = np.eye(10, dtype="float32")[y]
    states, expected = vae.encoder.get_layer("z").noise.state, None
    for images in (scale(x), x):
        for label in (hot, y):
            states.assign([1, 0])
            pictures = vae.predict([images, label], verbose=0)
            expected = pictures if expected is None else expected
            np.testing.assert_allclose(pictures, expected, atol=1e-5)
        means = vae.encoder.predict([images, hot], verbose=0)[0]
        np.testing.assert_allclose(means, vae.encoder([scale(x), hot])[0], atol=1e-4)
    for call in (vae.predict, vae.evaluate, vae.fit, vae.train_on_batch):
        for bad in ((x, y + 10), (x, y[1:]), x, (scale(x) * 255, y)):
            with pytest.raises((ValueError, TypeError), match=r"^(x|y): expected"):
                call(bad)
    assert vae.fit(x, y).history["loss"][0] > 0  # targets, to Keras


# What Keras's methods take


def test_steps_are_steps(x, tmp_path):
    vae = build_vae()
    vae.fit(x, epochs=3, steps_per_epoch=3)
    assert vae.optimizer.iterations == 9
    taken, test_step = [], vae.test_step
    vae.test_step = lambda data: (taken.append(len(data[0])), test_step(data))[1]
    vae.compile("adam", run_eagerly=True)
    vae.evaluate(x, steps=1)
    assert taken == [32]
    names = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.keras", save_freq=4)
    build_vae().fit(x, epochs=2, callbacks=[names])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "1-4.keras", "1-8.keras", "2-10.keras", "2-2.keras", "2-6.keras",
    ]  # fmt: skip


@pytest.mark.parametrize("verbose", [0, 2])
def test_a_callback_that_looks_idle_is_still_told_of_each_batch(x, tmp_path, verbose):
    """Its attributes are those of Keras's callbacks that do nothing at batches."""

    class Own(keras.callbacks.Callback):
        save_freq, verbose, seen = "epoch", 2, ()

        def on_train_batch_end(self, batch, logs=None):
            self.seen += (batch,)

    own = Own()
    path = tmp_path / "{batch}.weights.h5"
    saving = {"save_freq": 5, "save_weights_only": True, "verbose": verbose}
    build_vae().fit(x, callbacks=[own, keras.callbacks.ModelCheckpoint(path, **saving)])
    assert own.seen == tuple(range(10))
    build_vae().fit(x, callbacks=keras.callbacks.ModelCheckpoint(path, **saving))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10.weights.h5", "5.weights.h5"]


@pytest.mark.parametrize(
    "name", ["batch_size", "validation_batch_size", "steps_per_epoch", "validation_steps"]
)
@pytest.mark.parametrize("value", [0, -1, 1.5, "3"])
def test_a_count_that_is_none_is_refused(x, name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected a whole number of at least 1"):
        build_vae().fit(x, validation_data=x, **{name: value})


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("verbose", [1, 2])
def test_keras_progress_counts_batches(x, capsys, method, verbose):
    getattr(build_vae(), method)(x[:300], verbose=verbose)
    assert "10/10" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"jit_compile": False}])
def test_what_compile_is_told_is_so(x, options, monkeypatch):
    vae, eager = build_vae(seed=1), []
    terms = vae.terms
    vae.terms = lambda *batch: (eager.append(tf.executing_eagerly()), terms(*batch))[1]
    functions, function = [], tf.function

    def told(*arguments, jit_compile=None, **more):
        made = function(*arguments, jit_compile=jit_compile, **more)
        return lambda *batch: (functions.append(jit_compile), made(*batch))[1]

    monkeypatch.setattr(
        tf, "function", lambda f=None, **o: told(f, **o) if f else partial(told, **o)
    )
    vae.compile("adam", **options)
    assert vae.fit(x, epochs=2).history["loss"][1] < 600
    assert all(eager) == bool(options.get("run_eagerly"))
    assert not any(functions)  # no call of XLA


def test_settings_of_the_whole_process_count(x):
    tf.config.run_functions_eagerly(True)
    try:
        assert build_vae(seed=1).fit(x[:70]).history["loss"][0] < 600
    finally:
        tf.config.run_functions_eagerly(False)
    keras.config.set_max_steps_per_epoch(3)
    try:
        vae = build_vae()
        with pytest.warns(UserWarning, match="Limiting steps_per_epoch to 3"):
            vae.fit(x)
        assert vae.optimizer.iterations == 3
    finally:
        keras.config.set_max_steps_per_epoch(None)


def test_a_strategy_for_several_devices_is_refused(x):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    before = build_vae(seed=1)
    with strategy.scope():
        within = build_vae(seed=1)
        with pytest.raises(ValueError, match=r"^tf.distribute: .*, got MirroredStrategy$"):
            before.fit(x)
    for method in (within.fit, within.evaluate):
        with pytest.raises(ValueError, match=r"^tf.distribute: .*, got MirroredStrategy$"):
            method(x)
    assert before.fit(x).history["loss"]


def test_an_exported_model_does_what_calling_it_does(x, tmp_path):
    plain, labelled = build_vae(seed=1), build_conditional_vae(seed=1)
    images, labels = scale(x[:3]), np.eye(10, dtype="float32")[[3, 1, 4]]
    for model, given in ((plain, images), (labelled, [images, labels])):
        model.export(tmp_path / "exported", verbose=False)
        served = tf.saved_model.load(tmp_path / "exported")
        again = model.from_config(model.get_config())  # the same noise from its beginning
        again.set_weights(model.get_weights())
        np.testing.assert_allclose(served.serve(given), again(given), rtol=1e-5)


@pytest.mark.parametrize("name", ["loss", "metrics", "loss_weights", "weighted_metrics"])
def test_a_loss_or_metrics_of_others_are_refused(name):
    with pytest.raises(ValueError, match=f"^{name}: expected none, since this model has a loss"):
        build_vae().compile("adam", **{name: ["mse"]})
    with pytest.raises(ValueError, match=r"^loss: expected none"):
        build_vae().compile("adam", "mse")


def test_arguments_of_keras_fit_work_or_are_named(x):
    vae = build_vae()
    for bad in ({"class_weight": {0: 1.0}}, {"sample_weight": np.ones(320)}):
        (name,) = bad
        with pytest.raises(
            ValueError, match=f"^{name}: expected none, since all images count"
        ) as e:
            vae.fit(x, **bad)
        assert len(str(e.value)) < 150
    with pytest.raises(ValueError, match=r"^y: expected none, or the images themselves") as error:
        vae.fit(x, np.arange(320))
    assert len(str(error.value)) < 150
    with pytest.raises(TypeError, match="an unexpected keyword argument 'batchsize'"):
        vae.fit(x, batchsize=3)
    for share in (1.0, 0.9999, 2, -1, "a"):
        with pytest.raises(ValueError, match=r"^validation_split.*: expected"):
            vae.fit(x, validation_split=share)
    early = keras.callbacks.EarlyStopping("val_loss", min_delta=1e9)
    history = vae.fit(x, x, 64, 5, callbacks=early, validation_split=0.25)
    assert history.epoch == [0, 1]
    assert vae.optimizer.iterations == 2 * 4  # 240 images
    assert vae.fit(x, validation_data=(x, x)).history["val_loss"][0] > 0
    with pytest.raises(ValueError, match=r"^validation_data: expected none, or the images"):
        vae.fit(x, validation_data=(x, np.arange(320)))
    assert set(vae.train_on_batch(x[:9], return_dict=True)) == set(NAMES)
    assert len(vae.evaluate(x, return_dict=False)) == 3


def test_unshuffled_images_come_in_their_order(x):
    weights = []
    for shuffle, seed in ((False, 1), (False, 2), (True, 1)):
        vae = build_vae(seed=1)
        vae.fit(x, shuffle=shuffle, seed=seed)
        weights.append(vae.get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


# Decoders that end in probabilities


def test_a_decoder_of_probabilities_is_refused(x):
    z = keras.Input((2,))
    dense = layers.Dense(784, activation="sigmoid")(z)
    later = layers.Activation("sigmoid")(layers.Dense(784)(z))
    nested = keras.Model(z, keras.Model(z, keras.ops.sigmoid(layers.Dense(784)(z)))(z))
    for decoder in (keras.Model(z, dense), keras.Model(z, later), nested):
        encoder = add_sampling(build_encoder())
        for call in (
            lambda d, e: VAE(e, d),
            lambda d, e: compose(e, d),
            lambda d, e: vis.manifold(d, 3),
            lambda d, e: decode(d, np.zeros((3, 2))),
            lambda d, e: explorer.dense_layers(d),
            lambda d, e: exact_log_likelihood(d, np.round(GREY), step=1.0),
        ):
            with pytest.raises(
                ValueError, match=r"^(decoder: expected one that ends in logits|vae:)"
            ):
                call(decoder, encoder)


# Loading


BUILDS = {
    "vae": build_vae,
    "conditional": build_conditional_vae,
    "published": build_published_vae,
    "binary": build_binary_vae,
    "beta": lambda: BetaVAE(Setting(beta=3.0, free_nats=0.5, warm_up=7)),
    "deep": lambda: build_deep_vae(DeepSetting((8, 4), "gelu", binary=True, images=320)),
}


def test_a_fresh_process_loads_every_model_of_the_course(tmp_path, x):
    for name, build in BUILDS.items():
        vae = build()
        vae = compile_with_adam(vae) if name == "beta" else vae
        vae.beta = 2.5
        vae.save(tmp_path / f"{name}.keras")
    code = (
        "from helpers.training import load_vae; import sys, pathlib\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    vae = load_vae(path); print(path.stem, type(vae).__name__, vae.beta, vae.compiled)"
    )
    command = [sys.executable, "-c", code, tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    kinds = {"vae": "VAE", "published": "VAE", "conditional": "ConditionalVAE"}
    kinds |= {"binary": "BinaryVAE", "beta": "BetaVAE", "deep": "BinaryBetaVAE"}
    expected = [f"{name} {kinds[name]} 2.5 True" for name in sorted(kinds)]
    assert run.stdout.splitlines() == expected


def test_a_loaded_model_has_its_knobs(tmp_path, x):
    vae = compile_with_adam(BUILDS["beta"]())
    vae.save(tmp_path / "beta.keras")
    loaded = load_vae(tmp_path / "beta.keras")
    knobs = {name: getattr(loaded, name) for name in beta.KNOBS}
    assert knobs == dict(zip(beta.KNOBS, (3.0, 1.0, 7.0, 0.0, 0.5), strict=True))
    assert loaded.fit(x).history["loss"][0] > 0


@keras.saving.register_keras_serializable("student")
class Student(VAE):
    """A class that another process does not know."""


def test_a_file_that_holds_something_else_is_told_what_it_is(tmp_path):
    vae = Student(add_sampling(build_encoder()), build_decoder())
    compile_with_adam(vae).save(tmp_path / "student.keras")
    assert type(load_vae(tmp_path / "student.keras")) is Student
    code = "from helpers.training import load_vae; import sys; load_vae(sys.argv[1])"
    command = [sys.executable, "-c", code, tmp_path / "student.keras"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    said = run.stderr.splitlines()[-1]
    assert "student.keras is damaged, or not to be trusted, or holds a Student, a class" in said
    vae.save_weights(tmp_path / "only.weights.h5")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    (tmp_path / "notes.txt").write_text("hello", "utf-8")
    for name in ("only.weights.h5", "arrays.npz", "notes.txt"):
        with pytest.raises(
            OSError, match=rf"^path: {re.escape(name)} .*expected a file of vae\.save"
        ):
            load_vae(tmp_path / name)


# What a reader who knows Keras tried


def test_a_gradient_reaches_the_picture(x):
    vae, image = build_vae(seed=1), tf.Variable(scale(x[:2]))
    for call in (vae, lambda images: vae.encoder(images)[0]):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(call(image))
        assert np.abs(tape.gradient(value, image)).max() > 0


def test_a_subclass_may_have_metrics_and_another_objective(x):
    class Own(VAE):
        def __init__(self, *parts):
            super().__init__(*parts)
            self.extra = keras.metrics.Mean("extra")

        def objective(self, x, training=False):
            loss, *terms = super().objective(x, training)
            self.extra.update_state(7.0)
            return 2 * loss, *terms

    vae = Own(add_sampling(build_encoder()), build_decoder())
    vae.compile("adam")
    logs = vae.fit(x).history
    assert logs["extra"] == [7.0]
    terms = logs["reconstruction_loss"][0] + logs["kl_divergence"][0]
    assert logs["loss"][0] == pytest.approx(2 * terms, rel=1e-5)


def test_a_step_of_a_students_own_gives_his_logs(x):
    class Own(VAE):
        def train_step(self, data):
            super().train_step(data)
            return {"mine": tf.constant(3.0)}

    vae = Own(add_sampling(build_encoder()), build_decoder())
    vae.compile("adam")
    assert vae.fit(x).history == {"mine": [3.0]}


def test_a_loss_of_keras_is_refused_in_a_subclass_too():
    class Own(VAE):
        def compute_loss(self, *args, **kwargs):
            return 0.0

    with pytest.raises(NotImplementedError, match=r"^compute_loss: .* objective; override that"):
        Own(add_sampling(build_encoder()), build_decoder())
    with pytest.raises(NotImplementedError, match=r"^compute_loss: "):
        build_vae().compute_loss()


def test_datasets_are_refused_by_name(x):
    vae = build_vae()
    data = tf.data.Dataset.from_tensor_slices(scale(x)).batch(32)
    for method in (vae.fit, vae.evaluate, vae.predict, vae.train_on_batch):
        for each in (data, iter([scale(x)])):
            with pytest.raises(TypeError, match=r"^x: expected an array of images, got a \w+$"):
                method(each)
    with pytest.raises(TypeError, match=r"^validation_data: expected an array of images, got a"):
        vae.fit(x, validation_data=data)
    assert vae.fit(x, validation_data=(x,)).history["val_loss"]
    means = vae.encoder.predict(data, verbose=0)[0]
    np.testing.assert_allclose(means, vae.encoder(scale(x))[0], atol=1e-5)


def test_parts_without_inputs_are_refused():
    decoder = keras.Sequential([layers.Dense(784)])
    with pytest.raises(ValueError, match=r"^decoder: expected a model that begins with a keras"):
        VAE(add_sampling(build_encoder()), decoder)


# Seeds and threads


@pytest.mark.parametrize("name", ["vae", "published", "binary", "conditional"])
def test_one_seed_fixes_weights_noise_and_order(x, name):
    builds = {"vae": build_vae, "published": build_published_vae, "binary": build_binary_vae}
    build = builds.get(name, build_conditional_vae)
    data = (x, load_mnist().y_train[:320]) if name == "conditional" else x
    results = []
    for state, seed in ((1, 5), (2, 5), (2, 6)):
        keras.utils.set_random_seed(state)
        vae = build(seed=seed)
        keras.utils.set_random_seed(10 * state)
        history = vae.fit(data, epochs=2, validation_data=data).history
        results.append((history, vae.evaluate(data), vae.get_weights()))
    np.testing.assert_equal(results[0], results[1])
    for ours, theirs in zip(results[1][2], results[2][2], strict=True):
        assert (ours != theirs).any()


def test_a_seed_is_what_the_global_seed_would_give(x):
    weights = []
    for global_seed, seed in ((3, 3), (9, 3)):
        keras.utils.set_random_seed(global_seed)
        vae = build_vae(seed=seed)
        vae.fit(x)
        weights.append(vae.get_weights())
    np.testing.assert_equal(*weights)
    keras.utils.set_random_seed(3)
    plain = VAE(add_sampling(build_encoder(), Sampling(3)), build_decoder())
    plain.compile("adam")
    plain.fit(x)
    np.testing.assert_equal(plain.get_weights(), weights[0])


def test_threads_train_as_if_they_were_alone():
    settings = [
        Setting(beta=beta, seed=seed, epochs=1, images=640) for beta, seed in ((1, 1), (8, 2))
    ]
    alone, together = {each: beta.train(each) for each in settings}, {}
    threads = [
        threading.Thread(target=lambda each=each: together.update({each: beta.train(each)}))
        for each in settings
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_equal(together, alone)


@pytest.mark.parametrize("workers", [-1, 1.5, True, "two"])
def test_a_sweep_needs_a_number_of_workers(workers):
    with pytest.raises(ValueError, match=r"^workers: expected a whole number of at least 0"):
        sweep(str, [1, 2], workers=workers)


def test_a_sweep_takes_callables_without_a_name():
    assert sweep(partial(pow, 2), [1, 2, 3], workers=0) == {1: 2, 2: 4, 3: 8}
    with pytest.raises(TypeError) as error:
        sweep(partial(pow, "a"), [1], workers=0)
    assert any("(1)" in note for note in error.value.__notes__)


# The user's Matplotlib, and his Graphviz


def pictures(x, monkeypatch):
    """The bytes of each figure that a helper draws."""
    vae, y = draw_weights(build_vae(seed=1), 0), load_mnist().y_train[:40]
    z_mean, z_log_var, _ = vae.encoder(scale(x[:40]))
    drawn = {}
    for name, draw in {
        "plot_latent": lambda ax: vis.plot_latent(ax, z_mean, y),
        "plot_posteriors": lambda ax: vis.plot_posteriors(ax, z_mean, z_log_var),
        "plot_manifold": lambda ax: vis.plot_manifold(ax, vae.decoder, 4),
    }.items():
        _, ax = plt.subplots(figsize=(4, 4), dpi=100)
        draw(ax)
        assert ax.set_title("later").get_color() == "black"  # in any style: the paper is white
        ax.set_title("", fontsize=1)
        drawn[name] = figures.figure_png()
    vis.plot_rows([x[:4], x[4:8]], ["one", "two"])
    drawn["plot_rows"] = figures.figure_png()
    monkeypatch.setattr(vae_figure, "show", lambda alt: None)
    vae_figure.show_vae("sampling")
    drawn["show_vae"] = figures.figure_png()
    data, _ = explorer.explore(vae, x[:40], y)._repr_mimebundle_()
    drawn["explore"] = data["image/png"]
    return drawn


@pytest.mark.parametrize("style", ["dark_background", "ggplot", "seaborn-v0_8-darkgrid"])
def test_figures_are_as_designed_and_a_style_of_the_user_stays(x, style, monkeypatch):
    expected = pictures(x, monkeypatch)
    with plt.rc_context():
        plt.style.use(style)
        before = dict(plt.rcParams)
        drawn = pictures(x, monkeypatch)
        assert dict(plt.rcParams) == before
    for name in expected:
        assert drawn[name] == expected[name], name


def test_a_graphviz_that_draws_no_png_is_told_and_the_notebook_goes_on(
    tmp_path, monkeypatch, capsys
):
    dot = tmp_path / "dot"
    dot.write_text('#!/bin/sh\n[ "$1" = -V ] && exit 0\necho "no png here" >&2\nexit 1\n', "utf-8")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    figures.show_model(build_encoder(), "A diagram.")
    assert "Graphviz" in capsys.readouterr().out


# The explorer


def decoders():
    """Chains of Dense layers and what only looks like one, by name; all take z (n, 2)."""
    z = keras.Input((2,))
    first, twice = layers.Dense(6, "relu"), layers.Dense(2, "tanh")
    hidden = first(z)
    return {
        "plain": keras.Model(z, layers.Dense(784)(hidden)),
        "without bias": keras.Model(z, layers.Dense(784, use_bias=False)(layers.Dense(6)(z))),
        "a layer twice": keras.Model(z, layers.Dense(784)(twice(twice(z)))),
        "two ways": keras.Model(z, layers.Dense(784)(layers.Dense(6)(z) + hidden)),
        "half": keras.Model(z, layers.Dense(784, dtype="float16")(hidden)),
        "inner model": keras.Model(z, keras.Model(z, layers.Dense(784)(z))(z)),
        "a skip": keras.Model(z, layers.Dense(784)(z) + layers.Dense(784)(layers.Dense(2)(z))),
    }


@pytest.mark.parametrize("name", list(decoders()))
def test_explore_shows_the_numbers_of_the_model_or_refuses(name, x):
    decoder = decoders()[name]
    for weights in decoder.trainable_variables:
        weights.assign(np.random.default_rng(0).normal(0, 0.7, weights.shape))
    vae = VAE(add_sampling(build_encoder()), decoder)
    try:
        shown = explorer.explore(vae, x[:5], np.arange(5))
    except ValueError as error:
        assert str(error).startswith("vae: expected")
        assert name not in ("plain", "without bias")
        return
    z = np.random.default_rng(1).normal(size=(20, 2)).astype("float32")
    values, weights = z, np.frombuffer(shown.weights, "<f4")
    for inputs, units, activation in shown.layers:
        kernel, weights = (
            weights[: inputs * units].reshape(inputs, units),
            weights[inputs * units :],
        )
        bias, weights = weights[:units], weights[units:]
        values = explorer.ACTIVATIONS[activation](values @ kernel + bias)
    assert not len(weights)
    np.testing.assert_allclose(values, decoder(z), atol=1e-4)


def test_shown_again_the_explorer_is_of_the_present_model(x):
    vae = draw_weights(build_vae(seed=1), 0)
    shown = explorer.explore(vae, x[:40], np.arange(40) % 10)
    codes, weights = shown.codes, shown.weights
    vae.fit(x)
    shown._repr_mimebundle_()
    assert shown.codes != codes and shown.weights != weights
    z_mean = np.frombuffer(shown.codes, "<f4").reshape(-1, 4)[:, :2]
    np.testing.assert_allclose(z_mean, vae.encoder(scale(x[:40]))[0], atol=1e-5)


# Half floats


def test_half_floats_are_counted_in_full(x):
    """A decoder all in float16, whose logits are summed: hundreds of nats if in float16, too."""
    z = keras.Input((2,), dtype="float16")
    half = keras.Model(z, layers.Dense(784, dtype="float16")(z))
    full = keras.Model(w := keras.Input((2,)), layers.Dense(784)(w))
    full.set_weights([np.asarray(weight, "float32") for weight in half.get_weights()])
    binary = np.round(scale(x[:10]))
    exact = [exact_log_likelihood(decoder, binary, step=0.5) for decoder in (half, full)]
    np.testing.assert_allclose(*exact, atol=0.5)
    assert conditional.decode(half, np.zeros((2, 2), "float16")).dtype == "float32"
