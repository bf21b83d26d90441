"""Exercises of notebook 04."""

from helpers.exercises.engine import Build, Choice, Number, case_rng, slips
from helpers.loss import kl_divergence

from collections.abc import Callable

import numpy as np
from keras import KerasTensor, ops
from scipy.special import expit, logsumexp
from scipy.stats import norm


def _batch(k: int, n: int, d: int) -> tuple:
    """Pictures of greys, ink and paper, and a decoder that is sure of some pixels, once wrongly."""
    rng = case_rng(n)
    x = np.clip(rng.uniform(-0.5, 1.5, (n, 784)), 0, 1).astype("float32")
    logits = rng.normal(-0.5, 2, (k, n, 784)).astype("float32")
    sure = (rng.random((k, n, 784)) < 0.2) & ((x == 0) | (x == 1))
    logits = np.where(sure, np.float32(2000) * x - 1000, logits)
    x[:, 0], logits[:, :, 0] = 0, 1000
    x[:, 1], logits[:, :, 1] = 1, 1000
    z_mean, z_log_var = rng.normal(0.4, 1.2, (2, n, d)).astype("float32")
    return ops.convert_to_tensor(x), logits, z_mean, z_log_var


def _pixels(x: KerasTensor, logits: KerasTensor) -> KerasTensor:
    return ops.softplus(logits) - x * logits


def _by_probability(x: KerasTensor, p: KerasTensor) -> KerasTensor:
    return -x * ops.log(p) - (1 - x) * ops.log(1 - p)


def _with_a_small_number(x: KerasTensor, logits: KerasTensor) -> KerasTensor:
    p = ops.sigmoid(logits)
    return -x * ops.log(p + 1e-7) - (1 - x) * ops.log(1 - p + 1e-7)


def _with(pixels: Callable) -> Callable:
    """The slip that prices the pixels, (k, n, 784), in another way."""
    return lambda x, logits, m, s: (
        ops.mean(ops.sum(pixels(x, logits), axis=-1), axis=0) + kl_divergence(m, s)
    )


def _halves(combine: Callable) -> Callable:
    """The slip that combines the losses of the draws, (k, n), and the KL, (n,), in another way."""
    return lambda x, logits, m, s: combine(
        ops.sum(_pixels(x, logits), axis=-1), kl_divergence(m, s)
    )


def _on_a_grid(seed: int, clouds: list[tuple[float, float]]) -> list[tuple]:
    """A picture of a decoder with 784 pixels, on a line of codes, and some clouds for it."""
    rng = case_rng(seed)
    weights, biases = rng.normal(0, 0.15, 784), rng.normal(-1.5, 1.5, 784)
    z = np.linspace(-6, 6, 2401)
    picture = rng.random(784) < expit(weights * rng.normal(0, 0.8) + biases)
    logits = z[:, None] * weights + biases
    prices = (np.logaddexp(0, logits) - picture * logits).sum(axis=1)
    log_joint = (norm.logpdf(z) - prices).astype("float32")
    best = z[np.argmax(log_joint)]
    return [(z, log_joint, round(float(best + by), 2), std) for by, std in clouds]


def _gap(
    z: np.ndarray, log_joint: np.ndarray, mean: float, std: float, step: float | None = None
) -> float:
    step = z[1] - z[0] if step is None else step
    log_p, q = logsumexp(log_joint) + np.log(step), norm(mean, std)
    return np.sum(q.pdf(z) * (q.logpdf(z) - log_joint + log_p)) * (z[1] - z[0])


def _negative_elbo(z: np.ndarray, log_joint: np.ndarray, mean: float, std: float) -> float:
    q = norm(mean, std)
    return np.sum(q.pdf(z) * (q.logpdf(z) - log_joint)) * (z[1] - z[0])


def _the_other_way(z: np.ndarray, log_joint: np.ndarray, mean: float, std: float) -> float:
    log_posterior = log_joint - logsumexp(log_joint) - np.log(z[1] - z[0])
    terms = np.exp(log_posterior) * (log_posterior - norm.logpdf(z, mean, std))
    return np.sum(terms) * (z[1] - z[0])


def _without_logsumexp(z: np.ndarray, log_joint: np.ndarray, mean: float, std: float) -> float:
    with np.errstate(divide="ignore"):
        log_p = np.log(np.sum(np.exp(log_joint)) * (z[1] - z[0]))
    return _negative_elbo(z, log_joint, mean, std) + log_p


EXERCISES = {
    1: Choice(
        "predict",
        "b",
        "A bound says how high -log p(x) can be at most, not where below it lies: the gap of each "
        "is unknown. So B may be the better model, with the worse clouds. Notebook 8 measures it.",
        {
            "a": "A's bound is lower. Could B's gap be 20 nats, and A's 1?",
            "c": "Which way does the bound go: is the gap added to -log p(x), or subtracted?",
            "d": "The gap is a KL to the posterior. Do A and B have the same posteriors?",
        },
        nudge="Write -ELBO = -log p(x) + gap for both; which of these numbers are known?",
    ),
    2: Number(
        "predict",
        14.0,
        "A nat of reconstruction weighs 1/28, since each row of 28 pixels became a mean, and a nat "
        "of KL 1/2. Their ratio is 14: pictures will be vague, and codes say little.",
        {
            28.0: "That is the ratio if the KL were a sum. Here it is a mean over two dimensions.",
            56.0: "The mean over the dimensions divides the KL; you have multiplied it by 2.",
            784.0: "Keras takes the mean over the last axis only. How many pixels lie along it?",
            392.0: "Your KL is right. But is the mean one over all pixels, or along one axis?",
            1 / 14: "Upside down: beta is the weight of the KL over that of the reconstruction.",
            1
            / 28: "That is the weight of a nat of reconstruction. Beta is a ratio of two weights.",
            0.5: "That is the weight of a nat of KL. How much does one of reconstruction weigh?",
            1 / 56: "That is the product of the weights. Beta is their ratio.",
            1.0: "Two of these sums have become means. By what does each divide?",
        },
        hint="Find the weight of a nat of KL, then that of a nat of reconstruction, and divide.",
        nudge="By what number is the price of one pixel divided in this loss?",
    ),
    3: Build(
        "negative_elbo_of_each(x, logits, z_mean, z_log_var)",
        _halves(lambda r, kl: ops.mean(r, axis=0) + kl),
        lambda: [_batch(3, 5, 2), _batch(1, 4, 1)],
        "A mean over draws estimates an average over the cloud; pixels and dimensions are summed, "
        "and the mean over pictures comes last, when the training asks for one number.",
        slips(
            "This is a sum over the draws. They estimate an average.",
            _halves(lambda r, kl: ops.sum(r, axis=0) + kl),
            "The draws came out one by one. Which axis of the logits holds them?",
            _halves(lambda r, kl: r + kl),
            "One number for the whole batch, a mean. Keep one value for each picture.",
            _halves(lambda r, kl: ops.mean(r) + ops.mean(kl)),
            "The KL is subtracted. It is subtracted in the ELBO; here you want minus the ELBO.",
            _halves(lambda r, kl: ops.mean(r, axis=0) - kl),
            "This is the ELBO itself. The loss is minus that.",
            _halves(lambda r, kl: -ops.mean(r, axis=0) - kl),
            "Only the reconstruction came out. Who pays for the code?",
            _halves(lambda r, kl: ops.mean(r, axis=0)),
            "Only the KL came out. What does the picture cost, given the code?",
            _halves(lambda r, kl: kl),
            "The KL counts twice, as in the source. The ELBO has beta = 1.",
            _halves(lambda r, kl: ops.mean(r, axis=0) + 2 * kl),
            "A mean over the pixels, as Keras takes it: that hides another beta. Prices add.",
            _with(lambda x, logits: _pixels(x, logits) / 784),
            "A mean over the latent dimensions halves beta where there are two. KLs add.",
            lambda x, a, m, s: _halves(lambda r, kl: ops.mean(r, axis=0) + kl / m.shape[-1])(
                x, a, m, s
            ),
            "Your KL reads s as log sigma. It is the logarithm of the variance.",
            lambda x, a, m, s: _halves(lambda r, kl: ops.mean(r, axis=0) + kl)(x, a, m, 2 * s),
            "Ink and paper are swapped: a high logit must be cheap where x is 1.",
            _with(lambda x, logits: _pixels(1 - x, logits)),
            "The logits went into the price as if they were probabilities. Keras has to be told "
            "from_logits=True.",
            _with(lambda x, a: _by_probability(x, ops.clip(a, 1e-7, 1 - 1e-7))),
            "log(1 + exp(l)) is the right formula, but exp(1000) is infinite in float32. "
            "ops.softplus knows a way around.",
            _with(lambda x, logits: ops.log(1 + ops.exp(logits)) - x * logits),
            "By way of p, a sure pixel meets 0 times the logarithm of 0. Stay with the logits.",
            _with(lambda x, logits: _by_probability(x, ops.sigmoid(logits))),
            "You went by way of a clipped p, so no pixel costs more than 16 nats. Stay with the "
            "logits.",
            _with(lambda x, a: _by_probability(x, ops.clip(ops.sigmoid(a), 1e-7, 1 - 1e-7))),
            "A small number inside of the logarithm hides what a sure and wrong pixel costs. Stay "
            "with the logits.",
            _with(_with_a_small_number),
        ),
        gradient=(1, 2, 3),
        tolerance=1e-4,
        nudge="Which axis do you sum over, and which one is an average over?",
    ),
    4: Build(
        "gap_on_grid(z, log_joint, mean, std)",
        _gap,
        lambda: [
            *_on_a_grid(1, [(0.0, 0.2), (0.3, 0.5)]),
            *_on_a_grid(2, [(-0.2, 0.1), (0.0, 1.0)]),
        ],
        "It is -ELBO minus -log p(x), or the KL from the cloud to the posterior, which is the same "
        "number. With one or two latent dimensions a grid can tell; with many, none can.",
        slips(
            "This is -ELBO. The gap is what lies between it and -log p(x).",
            _negative_elbo,
            "The sign. The gap is a KL, and never negative.",
            lambda *case: -_gap(*case),
            "The integral that gives p(x) is a sum times the distance between the codes.",
            lambda *case: _gap(*case, step=1.0),
            "A mean over the grid is no integral. Multiply the sum by the distance of the codes.",
            lambda z, log_joint, mean, std: _gap(z, log_joint, mean, std, step=1 / len(z)),
            "The sum over the codes still has to be multiplied by the distance between them.",
            lambda z, *case: _gap(z, *case) / (z[1] - z[0]),
            "This is the KL from the posterior to the cloud. Average over the cloud instead.",
            _the_other_way,
            "std is a width, and you took it for a variance. Or was it the other way round?",
            lambda z, log_joint, mean, std: _gap(z, log_joint, mean, std**0.5),
            "This is the distance from the prior. The gap is the one from the posterior.",
            lambda z, log_joint, mean, std: (std**2 + mean**2 - 1 - 2 * np.log(std)) / 2,
            "Exponentials of numbers near -300 are 0 in float32, and their logarithm is minus "
            "infinity. What does logsumexp do?",
            _without_logsumexp,
        ),
        nudge="Find log p(x) first: it is the integral of the exponentials of log_joint.",
    ),
    5: Choice(
        "explore",
        "c",
        "Steeper pixels cut the posterior off on one side, and no normal cloud fits that as well; "
        "yet the picture has become more probable. A lower -ELBO can go with a wider gap.",
        {
            "a": "That is so for one of the factors. Subtract the two numbers for the others.",
            "b": "Subtract the two numbers for the factors 1 and 5. Which difference is larger?",
            "d": "Look at the first number, -log p(x), for the factors 1 and 5.",
        },
        nudge="The gap is the second number minus the first; write it down for each factor.",
    ),
}
