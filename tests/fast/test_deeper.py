"""Deeper networks compute what their widths say, and the learning rate follows its schedule."""

from helpers import beta, deeper
from helpers.decoder import build_decoder
from helpers.deeper import DeepSetting, build_deep_decoder, build_deep_encoder, build_deep_vae
from helpers.encoder import build_encoder
from helpers.evaluation import binarise
from helpers.exercises import find
from helpers.exercises.engine import verdict
from helpers.training import VAE

from itertools import pairwise

import keras
import numpy as np
import pytest
from scipy import special

WIDTHS = (7, 5, 3)
NAMES = ("loss", "reconstruction_loss", "kl_divergence")


def dense(*sizes):
    """The number of parameters of a chain of Dense layers."""
    return sum((a + 1) * b for a, b in pairwise(sizes))


@pytest.mark.parametrize(
    ("widths", "encoder", "decoder"),
    [
        ((64,), dense(784, 64) + 2 * dense(64, 2), dense(2, 64, 784)),
        (WIDTHS, dense(784, 7, 5, 3) + 2 * dense(3, 2), dense(2, 3, 5, 7, 784)),
        ([4, 6], dense(784, 4, 6) + 2 * dense(6, 2), dense(2, 6, 4, 784)),
    ],
)
def test_number_of_parameters(widths, encoder, decoder):
    assert build_deep_encoder(widths).count_params() == encoder
    assert build_deep_decoder(widths).count_params() == decoder
    assert build_deep_vae(DeepSetting(tuple(widths))).count_params() == encoder + decoder


@pytest.mark.parametrize("latent_dim", [1, 2, 10])
def test_the_code_is_as_wide_as_asked(latent_dim):
    encoder = dense(784, 7, 5, 3) + 2 * dense(3, latent_dim)
    decoder = dense(latent_dim, 3, 5, 7, 784)
    assert build_deep_encoder(WIDTHS, latent_dim=latent_dim).count_params() == encoder
    assert build_deep_decoder(WIDTHS, latent_dim=latent_dim).count_params() == decoder
    vae = build_deep_vae(DeepSetting(WIDTHS, latent_dim=latent_dim))
    assert vae.count_params() == encoder + decoder
    x = np.zeros((3, 784), "float32")
    assert [part.shape for part in vae.encoder(x)] == [(3, latent_dim)] * 3


@pytest.mark.parametrize("latent_dim", [0, -1, 2.0, True, None])
def test_a_bad_width_of_the_code_is_rejected(latent_dim):
    for build in (build_deep_encoder, build_deep_decoder):
        with pytest.raises(ValueError, match=r"^latent_dim: expected a whole number of at least 1"):
            build(WIDTHS, latent_dim=latent_dim)
    with pytest.raises(ValueError, match=r"^latent_dim: expected a whole number of at least 1"):
        build_deep_vae(DeepSetting(WIDTHS, latent_dim=latent_dim))


def test_the_defaults_are_the_courses_model():
    rng = np.random.default_rng(0)
    for ours, theirs, width in (
        (build_deep_encoder((64,), "relu"), build_encoder(), 784),
        (build_deep_decoder((64,), "relu"), build_decoder(), 2),
    ):
        ours.set_weights(theirs.get_weights())
        points = rng.uniform(size=(5, width)).astype("float32")
        np.testing.assert_array_equal(ours(points), theirs(points))
    setting = DeepSetting()
    assert (setting.widths, setting.activation, setting.binary) == ((64,), "relu", False)
    assert setting.latent_dim == 2
    assert build_deep_vae(setting).count_params() == 101_652


def test_outputs_of_a_deep_network():
    """GELU is u Phi(u) (Hendrycks and Gimpel 2016), and the last two layers have none."""
    rng = np.random.default_rng(0)
    encoder, decoder = build_deep_encoder(WIDTHS), build_deep_decoder(WIDTHS)
    for model, width, heads in ((encoder, 784, 2), (decoder, 2, 1)):
        weights = [rng.normal(0, 0.5, weight.shape) for weight in model.get_weights()]
        model.set_weights(weights)
        layers = list(zip(weights[::2], weights[1::2], strict=True))
        hidden = points = rng.uniform(size=(4, width)).astype("float32")
        for kernel, bias in layers[:-heads]:
            hidden = hidden @ kernel + bias
            hidden = hidden * special.ndtr(hidden)
        outputs = keras.tree.flatten(model(points))
        for (kernel, bias), output in zip(layers[-heads:], outputs, strict=True):
            np.testing.assert_allclose(output, hidden @ kernel + bias, rtol=1e-4, atol=1e-4)
    assert encoder.output_names == ["z_mean", "z_log_var"]


@pytest.mark.parametrize("widths", [(), [], 64, "64", None, (0,), (8, -1), (8, 1.5), (True,)])
def test_bad_widths_are_rejected(widths):
    for build in (build_deep_encoder, build_deep_decoder):
        with pytest.raises(ValueError, match=r"^widths: expected"):
            build(widths)


@pytest.mark.parametrize(("steps", "warm_up", "first"), [(200, 0.05, 10), (30, 0.3, 9)])
def test_schedule_climbs_in_a_line_and_falls_on_half_a_cosine(steps, warm_up, first):
    peak = 4e-3
    rate = deeper.rate_schedule(peak, steps, warm_up)
    k = np.arange(steps + 1)
    falling = peak / 2 * (1 + np.cos(np.pi * (k - first) / (steps - first)))
    expected = np.where(k < first, peak * k / first, falling)
    assert (expected[0], expected[first], expected.argmax()) == (0, peak, first)
    np.testing.assert_allclose([float(rate(step)) for step in k], expected, atol=1e-8)
    assert float(rate(steps)) == pytest.approx(0, abs=1e-9)
    assert float(rate(steps + 100)) == pytest.approx(0, abs=1e-9)


def test_schedule_of_few_steps_has_no_warm_up():
    for steps in (1, 9):
        rate = deeper.rate_schedule(1e-3, steps)
        assert float(rate(0)) == pytest.approx(1e-3)
        assert float(rate(steps)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("steps", [0, -5, 10.0, True])
def test_schedule_rejects_bad_steps(steps):
    with pytest.raises(ValueError, match=r"^steps: expected a whole number of at least 1"):
        deeper.rate_schedule(1e-3, steps)


BAD_SCHEDULES = [((-1e-3, 10), "peak"), ((float("nan"), 10), "peak")]
BAD_SCHEDULES += [((1e-3, 10, 1), "warm_up"), ((1e-3, 10, -0.1), "warm_up")]


@pytest.mark.parametrize(("arguments", "name"), BAD_SCHEDULES)
def test_schedule_rejects_bad_rates_and_shares(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        deeper.rate_schedule(*arguments)


@pytest.mark.parametrize("rate", [-1e-3, float("inf"), "fast"])
def test_a_bad_learning_rate_is_rejected(rate):
    with pytest.raises(ValueError, match=r"^learning_rate: expected a finite number of at least 0"):
        build_deep_vae(DeepSetting((4,), learning_rate=rate))


def test_fit_follows_the_schedule_to_its_end(mnist):
    # 100 images in batches of 16: 7 steps an epoch, the last one short, 42 in all, 2 to warm up.
    setting = DeepSetting((4,), "gelu", 16, 5e-3, True, epochs=6, images=100)
    vae, rate, seen = build_deep_vae(setting), deeper.rate_schedule(5e-3, 42), []

    def look(*_):
        seen.append((int(vae.optimizer.iterations), float(vae.optimizer.learning_rate)))

    follow = keras.callbacks.LambdaCallback(on_train_begin=look, on_epoch_end=look)
    vae.fit(mnist.x_train[:100], batch_size=16, epochs=6, callbacks=[follow])
    steps, rates = zip(*seen, strict=True)
    assert steps == (0, 7, 14, 21, 28, 35, 42)
    np.testing.assert_allclose(rates, [float(rate(step)) for step in steps], rtol=1e-5, atol=1e-9)
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_without_a_schedule_the_rate_stays():
    vae = build_deep_vae(DeepSetting((4,), learning_rate=2e-3))
    assert isinstance(vae.optimizer, keras.optimizers.Adam)
    vae.optimizer.iterations.assign(10_000)
    assert float(vae.optimizer.learning_rate) == pytest.approx(2e-3)


def test_a_setting_fixes_weights_and_noise():
    x, models = np.random.default_rng(0).random((3, 784), "float32"), []
    for global_seed, seed in ((0, 1), (1, 1), (0, 2)):
        keras.utils.set_random_seed(global_seed)
        models.append(build_deep_vae(DeepSetting(WIDTHS, seed=seed)))
    first, again, other = models
    np.testing.assert_equal(first.get_weights(), again.get_weights())
    np.testing.assert_array_equal(first(x), again(x))
    for a, b in zip(first.get_weights()[::2], other.get_weights()[::2], strict=True):
        assert (a != b).all()  # the kernels; biases start at 0
    other.set_weights(first.get_weights())
    assert abs(first(x) - other(x)).numpy().max() > 0


@pytest.mark.parametrize("binary", [False, True])
def test_a_binary_setting_draws_the_images_anew_each_epoch(mnist, monkeypatch, binary):
    seen = []

    def train_step(self, chunk):
        seen.append(chunk[0].numpy().reshape(-1, 784))
        return {"loss": 0.0}

    monkeypatch.setattr(VAE, "train_step", train_step)
    vae = build_deep_vae(DeepSetting((4,), binary=binary))
    vae.compile(run_eagerly=True)
    vae.fit(mnist.x_train[:1], batch_size=1, epochs=2)
    assert (set(np.unique(seen)) == {0, 255}) is binary
    assert (seen[0] != seen[1]).any() == binary


@pytest.mark.parametrize("start", [None, 1.0, 0.25, 0.0])
def test_beta_grows_to_1_in_the_first_half_of_the_steps(start, monkeypatch):
    used, objective = [], beta.objective

    def spy(reconstruction, kl_of_units, beta, *others):
        used.append(float(beta))
        return objective(reconstruction, kl_of_units, beta, *others)

    monkeypatch.setattr(beta, "objective", spy)
    setting = DeepSetting((4,), batch_size=16, epochs=6, images=100)  # 42 steps
    vae = build_deep_vae(setting if start is None else setting._replace(beta_start=start))
    for step in (0, 9, 20, 21, 41):
        vae.optimizer.iterations.assign(step)
        vae.train_step((np.zeros((2, 784), "float32"),))
    start = 1.0 if start is None else start
    expected = [start + (1 - start) * share for share in (1 / 21, 10 / 21, 1, 1, 1)]
    np.testing.assert_allclose(used, expected, rtol=1e-6)


SETTING = DeepSetting((16, 8), "gelu", 64, 4e-3, True, epochs=2, seed=3, images=640)


@pytest.mark.parametrize("binary", [False, True])
def test_what_training_returns(mnist, binary):
    setting = SETTING._replace(binary=binary)
    result = deeper.train_deep(setting)
    terms = {"reconstruction_loss", "kl_divergence", "validation_loss"}
    assert set(result) == {*terms, "history", "seconds", "weights"}
    assert [len(result["history"][name]) for name in ("loss", "val_loss")] == [2, 2]
    assert result["history"]["val_loss"][-1] == result["validation_loss"]
    assert result["seconds"] > 0
    vae = build_deep_vae(setting)
    start = vae.get_weights()
    vae.set_weights(result["weights"])
    assert abs(vae.get_weights()[0] - start[0]).max() > 1e-3
    test, validation = (
        vae.evaluate(binarise(x, 0) if binary else x) for x in (mnist.x_test, mnist.x_val)
    )
    assert result["validation_loss"] == pytest.approx(validation["loss"], rel=0.005)
    assert result["kl_divergence"] == pytest.approx(test["kl_divergence"], rel=1e-5)
    # The noise is other noise: one draw for each of 10,000 images.
    assert result["reconstruction_loss"] == pytest.approx(test["reconstruction_loss"], rel=0.005)


def test_training_depends_on_its_setting_alone():
    results = []
    for global_seed in (0, 7):
        keras.utils.set_random_seed(global_seed)
        results.append(deeper.train_deep(SETTING._replace(images=128)))
        other = deeper.train_deep(SETTING._replace(images=128, seed=4))  # on the same model
    first, again = results
    assert other["validation_loss"] != first["validation_loss"]
    for name in NAMES[1:]:
        assert first[name] == again[name]
    np.testing.assert_equal(first["weights"], again["weights"])


def test_the_history_counts_the_kl_in_full_whatever_beta_is(mnist, monkeypatch):
    """Each epoch's loss is the -ELBO, with beta 1, though beta still grows."""
    seen, fit = [], VAE.fit

    def keep(self, *args, **kwargs):
        seen.append(fit(self, *args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(VAE, "fit", keep)
    result = deeper.train_deep(SETTING._replace(beta_start=0.1))
    [told] = [history.history for history in seen]
    terms = np.add(told["reconstruction_loss"], told["kl_divergence"])
    np.testing.assert_allclose(result["history"]["loss"], terms)
    assert told["loss"][0] < terms[0] - 0.1


@pytest.mark.parametrize("binary", [False, True])
def test_training_and_measuring_take_the_right_images(mnist, monkeypatch, binary):
    calls, measured = [], []

    def evaluate(self, x, batch_size):
        measured.append(x)
        return dict.fromkeys(NAMES, float(len(measured)))

    def fit(self, *args, **kwargs):
        calls.append((args, kwargs))
        history = keras.callbacks.History()
        history.history = {name: [9.0, 8.0] for name in (*NAMES, "val_loss")}
        return history

    monkeypatch.setattr(VAE, "fit", fit)
    monkeypatch.setattr(VAE, "evaluate", evaluate)
    setting = DeepSetting((4,), batch_size=48, epochs=3, seed=5, binary=binary, images=54_000)
    result = deeper.train_deep(setting)
    [((x,), kwargs)] = calls
    np.testing.assert_array_equal(x, mnist.x_train[:54_000])
    [validation], [test] = kwargs["validation_data"], measured
    for images, expected in ((validation, mnist.x_val), (test, mnist.x_test)):
        np.testing.assert_array_equal(images, binarise(expected, 0) if binary else expected)
    assert [kwargs[name] for name in ("batch_size", "epochs", "seed")] == [48, 3, 5]
    assert [result[name] for name in (*NAMES[1:], "validation_loss")] == [1, 1, 8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": ()}, "widths: expected"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1"),
        ({"batch_size": 32.0}, "batch_size: expected a whole number of at least 1"),
        ({"beta_start": -1}, "beta_start: expected a finite number of at least 0"),
        ({"epochs": 0}, "epochs: expected a whole number of at least 1"),
        ({"seed": -1}, "seed: expected a whole number of at least 0"),
        ({"epochs": 1.5}, "epochs: expected a whole number of at least 1"),
        ({"images": 0}, "images: expected a whole number"),
        ({"images": 10.0}, "images: expected a whole number"),
    ],
)
def test_bad_settings_are_rejected(change, message, monkeypatch, mnist):
    monkeypatch.setattr(deeper, "load_mnist", lambda **_: mnist)
    for use in (build_deep_vae, deeper.train_deep):
        with pytest.raises(ValueError, match=f"^{message}"):
            use(DeepSetting(**change))


def test_validation_images_are_not_trained_on():
    with pytest.raises(ValueError, match=r"^images: expected a whole number from 1 to 55000"):
        deeper.train_deep(DeepSetting(images=55_001))


@pytest.mark.parametrize("answer", [697, 702, 703, 703.5, 705, 711])
def test_the_length_of_a_climb_is_one_whole_number(answer):
    steps = 30 * -(-60_000 // 128)
    assert deeper.rate_schedule(1.0, steps).warmup_steps == find("deeper.1").right == 704
    assert verdict(find("deeper.1"), answer).state == "wrong"
