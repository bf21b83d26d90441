"""The label reaches encoder and decoder, and training with it is Adam on the right loss."""

from helpers import conditional
from helpers.conditional import ConditionalVAE, build_conditional_decoder, build_conditional_encoder
from helpers.decoder import build_decoder
from helpers.encoder import build_encoder
from helpers.fused import Batches
from tests.fast import test_training as training

import keras
import numpy as np
import pytest
from scipy import special


@pytest.fixture(scope="module")
def pair(mnist):
    """Images as bytes and their labels; 77 images in batches of 32 leave a batch of 13."""
    return mnist.x_train[:77], mnist.y_train[:77]


@pytest.fixture(scope="module")
def vae():
    return conditional.build_conditional_vae(beta=0.5, seed=1)


def build_comparable(beta=2.0):
    """A model whose noise is known, with biases other than 0."""
    keras.utils.set_random_seed(1)
    encoder = build_conditional_encoder()
    heads = encoder.outputs[:2]
    outputs = [*heads, training.FixedNoise(name="z")(heads)]
    encoder = keras.Model(encoder.inputs, outputs, name="encoder")
    vae = ConditionalVAE(encoder, build_conditional_decoder(), beta)
    vae.set_weights([w + 0.1 * (w.ndim == 1) for w in vae.get_weights()])
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    return vae


def plain(pair):
    """Images and labels as the networks take them."""
    return pair[0].astype("float32") / 255, np.eye(10, dtype="float32")[pair[1]]


def test_shapes():
    for latent_dim in (1, 2, 5):
        encoder = build_conditional_encoder(latent_dim)
        outputs = encoder([np.zeros((3, 784)), np.zeros((3, 10))])
        assert [output.shape for output in outputs] == [(3, latent_dim)] * 3
        decoder = build_conditional_decoder(latent_dim)
        assert decoder([np.zeros((3, latent_dim)), np.zeros((3, 10))]).shape == (3, 784)
    assert encoder.output_names[:2] == ["z_mean", "z_log_var"]


def test_the_label_costs_640_parameters_in_each_part():
    """A weight from each of 10 inputs to each of 64 hidden units."""
    pairs = (build_conditional_encoder, build_encoder), (build_conditional_decoder, build_decoder)
    for ours, theirs in pairs:
        for latent_dim in (2, 3):
            assert ours(latent_dim).count_params() == theirs(latent_dim).count_params() + 640
    vae = conditional.build_conditional_vae()
    assert vae.count_params() == 101_652 + 1_280
    assert vae.beta == 1
    assert float(vae.optimizer.learning_rate) == pytest.approx(1e-3)


def test_a_label_that_weighs_nothing_leaves_the_courses_model():
    x = np.random.default_rng(0).random((4, 784), "float32")
    label = np.eye(10, dtype="float32")[:4]
    for ours, theirs, inputs in (
        (build_conditional_encoder(), build_encoder(), x),
        (build_conditional_decoder(), build_decoder(), x[:, :2]),
    ):
        weights = theirs.get_weights()
        ours.set_weights([np.concatenate([weights[0], np.zeros((10, 64))]), *weights[1:]])
        outputs = keras.tree.flatten(ours([inputs, label]))
        training.assert_all_close(outputs[:2], keras.tree.flatten(theirs(inputs)), atol=1e-6)


def test_the_seed_fixes_the_noise():
    inputs = [np.zeros((50, 784)), np.zeros((50, 10))]
    first, again, other = (build_conditional_encoder(seed=seed) for seed in (3, 3, 4))
    for model in (again, other):
        model.set_weights(first.get_weights())
    z = first(inputs)[2]
    np.testing.assert_array_equal(z, again(inputs)[2])
    assert (z != other(inputs)[2]).numpy().all()


def test_one_hot():
    y = np.array([3, 0, 9], "uint8")
    label = conditional.one_hot(y)
    assert label.dtype == "float32"
    np.testing.assert_array_equal(label, np.eye(10)[y])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_labels_may_be_of_any_dtype(dtype):
    y = conditional.check_labels(np.arange(10).astype(dtype), 10)
    assert y.dtype == "uint8"
    np.testing.assert_array_equal(y, np.arange(10))
    assert conditional.check_labels([4, 2], 2).tolist() == [4, 2]


BAD_LABELS = [[1], [1, 2, 3], [[1], [2]], 3, [10, 0], [-1, 0], [256, 0], [1.5, 2], [np.nan, 1]]
BAD_LABELS += [["1", "2"], ["one", "two"], [None, 1], [True, False]]


@pytest.mark.parametrize("y", BAD_LABELS)
def test_bad_labels_are_rejected(vae, y):
    x = np.zeros((2, 784), "uint8")
    with pytest.raises(ValueError, match=r"^y: expected 2 digits from 0 to 9"):
        conditional.check_labels(y, 2)
    for method in (vae.fit, vae.evaluate):
        with pytest.raises(ValueError, match=r"^y: expected 2 digits from 0 to 9"):
            method((x, y))
    with pytest.raises(ValueError, match=r"^labels of validation_data: expected 2 digits"):
        vae.fit((x, [1, 2]), validation_data=(x, y))


def test_what_is_no_pair_is_rejected(vae, pair):
    x, y = pair
    for data in (x, x[:2], (x,), (x, y, y), {"x": x, "y": y}, None):
        for method in (vae.fit, vae.evaluate):
            with pytest.raises(TypeError, match=r"^x: expected a pair \(images, labels\), got"):
                method(data)
        if data is not None:
            with pytest.raises(TypeError, match=r"^validation_data: expected a pair"):
                vae.fit(pair, validation_data=data)


@pytest.mark.parametrize(("images", "error"), [*training.BAD_IMAGES[1:5], training.BAD_IMAGES[-1]])
def test_bad_images_are_rejected(vae, pair, images, error):
    data = images, np.zeros(len(images), "uint8")
    for method in (vae.fit, vae.evaluate):
        with pytest.raises(error, match=r"^x: expected"):
            method(data)
    with pytest.raises(error, match=r"^validation_data: expected"):
        vae.fit(pair, validation_data=data)


@pytest.mark.parametrize("latent_dim", [0, -1, True, 2.0])
def test_bad_latent_dim_is_rejected(latent_dim):
    builds = build_conditional_encoder, build_conditional_decoder, conditional.build_conditional_vae
    for build in builds:
        with pytest.raises(ValueError, match=r"^latent_dim: expected"):
            build(latent_dim)


@pytest.mark.parametrize("beta", [-1, np.nan, True, "1"])
def test_bad_beta_is_rejected(beta):
    with pytest.raises(ValueError, match=r"^beta: expected"):
        conditional.build_conditional_vae(beta=beta)


def test_parts_that_do_not_fit_are_rejected():
    with pytest.raises(ValueError, match=r"^decoder: expected a decoder of 3 latent dimensions"):
        ConditionalVAE(build_conditional_encoder(3), build_conditional_decoder(2))


def test_fit_equals_plain_training(pair):
    """Two epochs; the last batch of each is cut short, and its padding must not train."""
    vae = build_comparable()
    start = vae.get_weights()
    assert vae.beta == 2
    training.assert_fit_is_plain_training(vae, pair, plain(pair), epochs=2)
    for kernel, width in ((0, 784), (6, 2)):
        moved = abs(vae.get_weights()[kernel] - start[kernel])
        assert (moved[width:] > 1e-4).any(axis=1).all()


def test_chunks_keep_each_label_with_its_image(mnist):
    x, y = mnist.x_train[:300], mnist.y_train[:300]
    batches = Batches((x, y), 32, True, 0, True, lambda rows, rng: rows)
    (images, labels), count = batches[0]
    rows = np.reshape(images, (-1, 784))[:count]
    np.testing.assert_array_equal(rows, x[batches.order])
    np.testing.assert_array_equal(np.ravel(labels)[:count], y[batches.order])


def test_evaluate_equals_a_direct_computation(pair):
    vae, (x, label) = build_comparable(beta=3.0), plain(pair)
    reconstruction, kl = training.terms(vae.get_weights(), x, label)
    direct = [np.mean(reconstruction) + 3 * np.mean(kl), np.mean(reconstruction), np.mean(kl)]
    for data, batch_size in ((pair, 32), (list(pair), 1), ((x, pair[1]), 1_000)):
        result = vae.evaluate(data, batch_size=batch_size)
        np.testing.assert_allclose([result[name] for name in training.NAMES], direct, rtol=1e-5)
    wrong = (pair[0], (pair[1] + 1) % 10)
    assert vae.evaluate(wrong)["loss"] != pytest.approx(direct[0], rel=1e-4)


def test_the_label_reaches_both_networks(pair):
    vae, (x, label) = build_comparable(), plain(pair)
    other = np.roll(label, 1, axis=1)
    for ours, theirs in zip(vae.encoder([x, label]), vae.encoder([x, other]), strict=True):
        assert (abs(ours - theirs).numpy() > 1e-4).any(axis=1).all()
    z = x[:, :2] + 1
    ours, theirs = (vae.decoder([z, y]).numpy() for y in (label, other))
    assert (abs(ours - theirs) > 1e-4).any(axis=1).all()


def test_calling_the_model_gives_the_probability_of_ink(pair):
    vae, inputs = build_comparable(), plain(pair)
    expected = special.expit(training.forward(vae.get_weights(), *inputs)[2])
    np.testing.assert_allclose(vae(list(inputs)), expected, atol=1e-5)
    np.testing.assert_allclose(vae.predict(list(inputs), verbose=0), expected, atol=1e-5)


def test_training_on_pairs_repeats_by_seed(pair, mnist):
    validation_data = mnist.x_val[:50], mnist.y_val[:50]
    histories, weights = [], []
    for _ in range(2):
        keras.utils.set_random_seed(4)
        vae = conditional.build_conditional_vae(seed=1)
        history = vae.fit(pair, epochs=3, validation_data=validation_data, seed=2).history
        histories.append(history)
        weights.append(vae.get_weights())
    assert histories[0] == histories[1]
    np.testing.assert_equal(*weights)
    assert set(history) == {prefix + name for prefix in ("", "val_") for name in training.NAMES}
    assert history["val_loss"][2] < history["val_loss"][0]
    expected = history["val_kl_divergence"][2]
    assert vae.evaluate(validation_data)["kl_divergence"] == pytest.approx(expected, rel=1e-5)


def test_saved_and_loaded_in_safe_mode(pair, tmp_path):
    vae = conditional.build_conditional_vae(beta=0.5, seed=1)
    vae.set_weights([weight + 0.01 for weight in vae.get_weights()])
    vae.save(tmp_path / "conditional.keras")
    loaded = keras.saving.load_model(tmp_path / "conditional.keras", safe_mode=True)
    assert type(loaded) is ConditionalVAE
    assert loaded.beta == 0.5
    inputs = list(plain(pair))
    np.testing.assert_array_equal(loaded(inputs), vae(inputs))
    np.testing.assert_array_equal(loaded.encoder(inputs)[0], vae.encoder(inputs)[0])
    assert loaded.evaluate(pair)["kl_divergence"] == vae.evaluate(pair)["kl_divergence"]


def test_decode_digit(pair):
    decoder = build_comparable().decoder
    w2, b2, w3, b3 = decoder.get_weights()
    z = np.random.default_rng(0).normal(size=(4, 2))

    def expected(y):
        hidden = np.maximum(z @ w2[:2] + w2[2:][y] + b2, 0)
        return special.expit(hidden @ w3 + b3)

    for y in (7, np.uint8(7), [7, 0, 9, 7], np.array([0, 1, 2, 3])):
        images = conditional.decode_digit(decoder, z, y)
        assert isinstance(images, np.ndarray)
        assert (images.shape, images.dtype) == ((4, 784), "float32")
        np.testing.assert_allclose(images, expected(np.broadcast_to(y, 4)), atol=1e-5)
    seven, four = (conditional.decode_digit(decoder, z, y) for y in (7, 4))
    assert abs(seven - four).max() > 1e-3


@pytest.mark.parametrize("y", [10, -1, 1.5, "3", None, [3], [1, 2, 3], [[1, 2]], [1, 10]])
def test_decode_digit_rejects_what_is_no_digit(y):
    with pytest.raises(ValueError, match=r"^y: expected 2 digits from 0 to 9"):
        conditional.decode_digit(build_conditional_decoder(), np.zeros((2, 2)), y)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 2, 1)])
def test_decode_digit_rejects_other_points(shape):
    with pytest.raises(ValueError, match=r"^z: expected shape \(n, 2\) with values, got"):
        conditional.decode_digit(build_conditional_decoder(), np.zeros(shape), 3)


def test_decode_digit_rejects_nan():
    with pytest.raises(ValueError, match=r"^z: expected finite values"):
        conditional.decode_digit(build_conditional_decoder(), np.array([[0, np.nan]]), 3)
