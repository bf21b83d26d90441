"""Exercises of notebook 04."""

from helpers.exercises.engine import Build, Choice, Number, case_rng, slips
from helpers.loss import kl_divergence, reconstruction_loss

from math import log, sqrt

import numpy as np
from keras import KerasTensor, ops


def _heads(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = case_rng(n)
    return tuple(rng.normal(0.4, 1.2, (2, n, d)).astype("float32"))


def _batch(n: int, pixels: int, d: int) -> tuple:
    rng = case_rng(n)
    x = np.clip(rng.uniform(-0.5, 1.5, (n, pixels)), 0, 1).astype("float32")  # grey, ink and paper
    logits = rng.normal(0.3, 1.5, (n, pixels)).astype("float32")
    x[:, 0], logits[:, 0] = 0, 20  # a decoder that is sure, and wrong
    return ops.convert_to_tensor(x), logits, *_heads(n, d)


def _bracket(m: KerasTensor, s: KerasTensor) -> KerasTensor:
    return ops.exp(s) + ops.square(m) - 1 - s


def _halves(combine: object) -> object:
    """The slip that combines the two halves of the loss, (n,) each, in another way."""
    return lambda x, logits, m, s: combine(reconstruction_loss(x, logits), kl_divergence(m, s))


def _clipped(x: KerasTensor, logits: KerasTensor, m: KerasTensor, s: KerasTensor) -> KerasTensor:
    p = ops.clip(ops.sigmoid(logits), 1e-7, 1 - 1e-7)
    pixels = -x * ops.log(p) - (1 - x) * ops.log(1 - p)
    return ops.sum(pixels, axis=-1) + kl_divergence(m, s)


EXERCISES = {
    1: Number(
        "predict",
        -784 * log(0.9),
        "Each pixel, ink or paper, was given the probability 0.9 of what it is, and costs "
        "-log 0.9 = 0.105 nats. So the number of ink pixels does not matter.",
        {
            -log(0.9): "That is the price of one pixel. A picture is the sum over its pixels.",
            784 * log(0.9): "The sign: a price is minus the logarithm of the probability.",
            -784 * log(0.1): "Paper has p = 0.1 of being ink. What is its probability to be paper?",
            -784 * (0.9 * log(0.9) + 0.1 * log(0.1)): "Here each pixel is wrong one time in ten. "
            "But this decoder knew every pixel: which of the two summands is left where x is 1?",
            -784 * (log(0.9) + log(0.1)): "Only one of the two summands is left for each pixel, "
            "since x or 1 - x is 0.",
            -784 * log(0.9) / log(10): "That is a logarithm to base 10. Nats use np.log.",
            -784 * log(0.9) / log(2): "Those are bits, from a logarithm to base 2. Use np.log.",
        },
        hint="Find the price of an ink pixel, then that of a paper pixel. Then add up all 784.",
    ),
    2: Build(
        "kl_mine(z_mean, z_log_var)",
        kl_divergence,
        lambda: [_heads(5, 3), _heads(4, 1), _heads(2, 7)],
        "The average of log q gives the -1 and the -s, that of log p the variance and the squared "
        "mean; dimensions are independent, so their KLs add.",
        slips(
            "A mean over the latent dimensions. They are independent: what do their KLs do?",
            lambda m, s: ops.mean(_bracket(m, s), axis=-1) / 2,
            "All values are twice too large. Both log-densities have a factor of one half.",
            lambda m, s: ops.sum(_bracket(m, s), axis=-1),
            "The sign. A KL is never negative, and 0 at the prior itself.",
            lambda m, s: -kl_divergence(m, s),
            "You read s as log sigma. Here s is the logarithm of the variance: no factor of 2.",
            lambda m, s: kl_divergence(m, 2 * s),
            "exp(s / 2) is the width. The average of z squared needs the variance.",
            lambda m, s: ops.sum(_bracket(m, s) - ops.exp(s) + ops.exp(s / 2), axis=-1) / 2,
            "The variance came in as s itself. But s is its logarithm.",
            lambda m, s: ops.sum(ops.square(m) - 1, axis=-1) / 2,
            "The -1 is missing: at the prior itself, the KL must be 0.",
            lambda m, s: ops.sum(_bracket(m, s) + 1, axis=-1) / 2,
            "The log of the variance is missing: narrow clouds would cost nothing.",
            lambda m, s: ops.sum(_bracket(m, s) + s, axis=-1) / 2,
            "The sign of the log of the variance: a narrow cloud, s far below 0, must cost more.",
            lambda m, s: ops.sum(_bracket(m, s) + 2 * s, axis=-1) / 2,
            "The mean is not squared: a shift to the left costs as much as one to the right.",
            lambda m, s: ops.sum(_bracket(m, s) - ops.square(m) + m, axis=-1) / 2,
            "The half reaches the variance only. It stands before the whole bracket.",
            lambda m, s: ops.sum(_bracket(m, s) - ops.exp(s) / 2, axis=-1),
            "This is the KL from the prior to the cloud. The average goes over q, the cloud.",
            lambda m, s: ops.sum(ops.exp(-s) * (1 + ops.square(m)) - 1 + s, axis=-1) / 2,
            "One number for the whole batch, a sum. Each picture has a KL of its own.",
            lambda m, s: ops.sum(kl_divergence(m, s)),
            "One number for the whole batch, a mean. Each picture has a KL of its own.",
            lambda m, s: ops.mean(kl_divergence(m, s)),
            "This adds up the pictures, for each latent dimension. Which axis holds the latents?",
            lambda m, s: ops.sum(_bracket(m, s), axis=0) / 2,
            "One KL for each latent dimension came out. A picture's KL is their sum.",
            lambda m, s: _bracket(m, s) / 2,
        ),
        gradient=(0, 1),
    ),
    3: Build(
        "negative_elbo_of_each(x, logits, z_mean, z_log_var)",
        _halves(lambda r, kl: r + kl),
        lambda: [_batch(5, 6, 3), _batch(4, 9, 1)],
        "Sums over pixels and over latent dimensions, no mean anywhere: the mean over pictures "
        "comes last, when the training asks for one number.",
        slips(
            "One number for the whole batch, a mean. Keep one value for each picture.",
            _halves(lambda r, kl: ops.mean(r + kl)),
            "One number for the whole batch, a sum. Keep one value for each picture.",
            _halves(lambda r, kl: ops.sum(r + kl)),
            "The KL is subtracted. It is subtracted in the ELBO; here you want minus the ELBO.",
            _halves(lambda r, kl: r - kl),
            "This is the ELBO itself. The loss is minus that.",
            _halves(lambda r, kl: -r - kl),
            "Only the reconstruction came out. Who pays for the code?",
            _halves(lambda r, kl: r),
            "Only the KL came out. What does the picture cost, given the code?",
            _halves(lambda r, kl: kl),
            "The KL counts twice, as in the source. The ELBO has beta = 1.",
            _halves(lambda r, kl: r + 2 * kl),
            "The two terms came out side by side. A picture's loss is their sum.",
            _halves(lambda r, kl: ops.stack([r, kl], axis=-1)),
            "A mean over the pixels, as Keras takes it: that hides another beta. Prices add.",
            lambda x, a, m, s: reconstruction_loss(x, a) / x.shape[-1] + kl_divergence(m, s),
            "A mean over the latent dimensions halves beta where there are two. KLs add.",
            lambda x, a, m, s: reconstruction_loss(x, a) + kl_divergence(m, s) / m.shape[-1],
            "Your KL reads s as log sigma. It is the logarithm of the variance.",
            lambda x, a, m, s: reconstruction_loss(x, a) + kl_divergence(m, 2 * s),
            "Ink and paper are swapped: a high logit must be cheap where x is 1.",
            lambda x, a, m, s: reconstruction_loss(1 - x, a) + kl_divergence(m, s),
            "This is a squared error, the price under another belief. Ask for the cross-entropy.",
            lambda x, a, m, s: ops.sum((x - ops.sigmoid(a)) ** 2, axis=-1) + kl_divergence(m, s),
            "You went by way of a clipped p, so no pixel costs more than 16 nats. Stay with the "
            "logits.",
            _clipped,
        ),
        gradient=(1, 2, 3),
    ),
    4: Number(
        "predict",
        sqrt(392),
        "1 / (2 sigma^2) = 1 / 784. A noise of about 20, where greys only go from 0 to 1, hides "
        "every picture: to such a model hardly any code is worth its KL.",
        {
            392.0: "That is the variance. The width is its square root.",
            28.0: "The 2 in the exponent of the normal density is missing: 2 sigma^2 = 784.",
            784.0: "Set 1 / (2 sigma^2), the weight of a squared difference, equal to 1 / 784.",
            sqrt(0.5): "That belongs to the sum over the pixels. Here a mean is taken.",
            sqrt(1 / 1568): "Upside down: a small weight 1 / (2 sigma^2) means a large sigma.",
            1.0: "With sigma = 1 each squared difference would have the weight 1/2. Which has it?",
        },
        hint="Compare the factors before (x - prediction)^2: 1 / (2 sigma^2) and that of the mean.",
    ),
    5: Choice(
        "explore",
        "b",
        "float32 ends at 3.4e38, which is exp(88.7). An infinite loss has infinite or NaN slopes, "
        "and one step makes the weights NaN. Scale the pictures, and keep the learning rate small.",
        {
            "a": "Print the largest size of z_mean, and square it. Is that more than 3.4e38?",
            "c": "The formula takes no logarithm, since the head gives one. What do s = -150 cost?",
            "d": "Print the largest sizes of z_mean and z_log_var. Are they infinite?",
        },
    ),
}
