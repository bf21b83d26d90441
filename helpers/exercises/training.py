"""Exercises of notebook 05."""

from helpers.exercises.engine import Build, Choice, Number, case_rng, slips
from helpers.loss import kl_divergence, reconstruction_loss
from helpers.training import VAE, build_vae

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from math import exp, log

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, ops

LENGTHS = "length of the step, layer by layer"
CALLED = "1 if vae.fit was called, 2 if vae.train_step, else 0"
NARROW, WIDE = -30.0, 1.0  # log-variances


class WatchedVAE(VAE):
    """A VAE that notes in `called` when it is asked to train by itself."""

    called = 0

    def fit(self, *args: object, **kwargs: object) -> keras.callbacks.History:
        """Keras's `fit`."""
        self.called = 1
        return super().fit(*args, **kwargs)

    def train_on_batch(self, *args: object, **kwargs: object) -> object:
        """Keras's `train_on_batch`."""
        self.called = 1
        return super().train_on_batch(*args, **kwargs)

    def train_step(self, data: tuple) -> dict:
        """The step of a VAE."""
        self.called = self.called or 2
        return super().train_step(data)


class _Case:
    """A model and its pictures. Models take long to build, so one serves again and again."""

    def __init__(self, n: int, beta: float, optimizer: keras.Optimizer) -> None:
        rng = case_rng(n)
        built = build_vae(seed=n)
        self.vae = WatchedVAE(built.encoder, built.decoder, beta)
        self.vae.compile(optimizer=optimizer)
        self.beta, self.optimizer = beta, optimizer
        self.x = np.clip(rng.uniform(-0.5, 1.5, (n, 784)), 0, 1).astype("float32")
        for weights in self.vae.trainable_variables:
            spread = weights.shape[0] ** -0.5 if len(weights.shape) == 2 else 0.1
            weights.assign(rng.normal(0, spread, weights.shape))
        self.optimizer.build(self.vae.trainable_variables)
        variables = [*self.vae.variables, *self.optimizer.variables]
        self.start = [(v, np.array(ops.convert_to_numpy(v))) for v in variables]
        self.reset(WIDE)
        self.without_noise = float(_loss(*_terms_without_noise(self.vae, self.x), beta))

    def reset(self, z_log_var: float) -> None:
        """Put everything back to where it began, with clouds of about this log-variance."""
        for variable, value in self.start:
            variable.assign(value)
        self.vae.encoder.get_layer("z_log_var").bias.assign([z_log_var, z_log_var])
        self.vae.beta = self.beta
        if self.vae.optimizer is not self.optimizer:
            self.vae.compile(optimizer=self.optimizer)


@cache
def _kept() -> list[_Case]:
    # Smooth ones, unlike Adam as usual, which magnifies rounding near 0.
    descent = keras.optimizers.SGD(0.01, momentum=0.5, nesterov=True)
    return [_Case(50, 2.0, descent), _Case(7, 0.5, keras.optimizers.Adam(0.01, epsilon=1.0))]


def _moved(step: Callable, vae: VAE, x: np.ndarray) -> dict:
    """How far the weights went, where to, the loss that came out, and whether z was drawn."""
    case = next(case for case in _kept() if case.vae is vae)
    case.reset(NARROW)  # other noise, as from a second draw, changes nothing
    vae.called = 0
    before = [np.array(ops.convert_to_numpy(weights)) for weights in vae.trainable_variables]
    try:
        loss = step(vae, x)
    except Exception as error:
        if vae.called:
            return {CALLED: vae.called}
        if "No gradients" not in str(error):  # of an optimizer that is handed nothing
            raise
        return {CALLED: 0, LENGTHS: None}
    if vae.called:
        return {CALLED: vae.called}
    steps_made = int(vae.optimizer.iterations)
    after = [ops.convert_to_numpy(weights) for weights in vae.trainable_variables]
    steps = [(b - a).astype("float64").ravel() for a, b in zip(before, after, strict=True)]
    layers = [np.concatenate(steps[k : k + 2]) for k in range(0, len(steps), 2)]
    case.reset(WIDE)
    drawn = False
    with suppress(TypeError, ValueError):  # what is no number is told below
        drawn = abs(float(step(vae, x)) / case.without_noise - 1) > 1e-3
    return {
        CALLED: 0,
        LENGTHS: np.array([np.sqrt(np.sum(layer**2)) for layer in layers]),
        "sum of the step, layer by layer": np.array([layer.sum() for layer in layers]),
        "step of all weights": np.concatenate(layers),
        "number of steps": steps_made,
        "loss": loss,
        "1 if z is drawn, else 0": int(drawn),
    }


def _loss(reconstruction: KerasTensor, kl: KerasTensor, beta: float) -> KerasTensor:
    return ops.mean(reconstruction + beta * kl)


def _terms_without_noise(vae: VAE, x: np.ndarray) -> tuple[KerasTensor, KerasTensor]:
    z_mean, z_log_var, _ = vae.encoder(x)
    return reconstruction_loss(x, vae.decoder(z_mean)), kl_divergence(z_mean, z_log_var)


def _step(
    loss: Callable = _loss,
    part: Callable = lambda vae: vae,
    sign: int = 1,
    times: int = 1,
    returned: Callable = _loss,
    terms_of: Callable = lambda vae, x: vae.terms(x),
    move: Callable = lambda optimizer, slopes, variables: optimizer.apply(slopes, variables),
) -> Callable:
    """A training step, with the slips that the arguments name."""

    def step(vae: VAE, x: np.ndarray) -> KerasTensor:
        variables = part(vae).trainable_variables
        for _ in range(times):
            with tf.GradientTape() as tape:
                terms = terms_of(vae, x)
                value = loss(*terms, vae.beta)
            pairs = zip(tape.gradient(value, variables), variables, strict=True)
            slopes = [ops.zeros(v.shape) if slope is None else sign * slope for slope, v in pairs]
            move(vae.optimizer, slopes, variables)
        return returned(*terms, vae.beta)

    return step


def _no_step(vae: VAE, x: np.ndarray) -> KerasTensor:
    return _loss(*vae.terms(x), vae.beta)


def _outside(vae: VAE, x: np.ndarray) -> None:
    with tf.GradientTape() as tape:
        pass
    variables = vae.trainable_variables
    vae.optimizer.apply(tape.gradient(_no_step(vae, x), variables), variables)  # which it refuses


def _batch_by_batch(vae: VAE, x: np.ndarray) -> KerasTensor:
    losses = [_step()(vae, x[k : k + 32]) for k in range(0, len(x), 32)]
    return sum(losses) / len(losses)


def _by_hand(optimizer: keras.Optimizer, slopes: list, variables: list) -> None:
    for weights, slope in zip(variables, slopes, strict=True):
        weights.assign(weights - optimizer.learning_rate * slope)


def _kl(mean: float, log_var: float) -> float:
    return (exp(log_var) + mean**2 - 1 - log_var) / 2


EXERCISES = {
    1: Choice(
        "predict",
        "c",
        "All slopes grow by the factor 32. Descent multiplies them by the learning rate; Adam "
        "divides each by its own usual size, and the factor cancels.",
        {
            "a": "That is so for plain descent. What does Adam divide by, and does that grow, too?",
            "b": "The lowest point stays, but the slope of a sum of 32 losses is 32 times as "
            "steep. What does descent do with a slope?",
            "d": "Which of the two multiplies the slope by a fixed number, and which divides it "
            "by its own size?",
        },
        nudge="How does the slope of a sum of 32 losses compare with that of their mean?",
    ),
    2: Build(
        "one_step(vae, x)",
        _step(),
        lambda: [(case.vae, case.x.copy()) for case in _kept()],
        "The tape sees everything from the pictures to the mean loss, and the optimizer gets "
        "the slopes of encoder and decoder in one go.",
        slips(
            "Only the encoder has moved. The decoder must learn, too.",
            _step(part=lambda vae: vae.encoder),
            "Only the decoder has moved. The encoder must learn, too.",
            _step(part=lambda vae: vae.decoder),
            "No weight has moved. The slopes must be handed to the optimizer.",
            _no_step,
            "The optimizer was handed no slopes. What happens before the tape begins, or after "
            "it has ended, leaves no trace on it.",
            _outside,
            "The weights went uphill. The optimizer subtracts by itself: hand it the slopes as "
            "they are.",
            _step(sign=-1),
            "vae.fit makes steps of its own, on batches of its own. Write one step: a tape, "
            "slopes, the optimizer.",
            lambda vae, x: vae.fit(x, verbose=0),
            "vae.train_step is a step that someone else wrote. Write it out: a tape, slopes, the "
            "optimizer.",
            lambda vae, x: vae.train_step((x,))["loss"],
            "A sum over the batch makes every slope n times as large. Take the mean.",
            _step(lambda r, kl, beta: ops.sum(r + beta * kl)),
            "The KL counts once, but this model has a beta of its own.",
            _step(lambda r, kl, beta: ops.mean(r + kl)),
            "The KL is missing from the loss of the tape.",
            _step(lambda r, kl, beta: ops.mean(r)),
            "The KL has the wrong sign: here clouds far from the prior are rewarded.",
            _step(lambda r, kl, beta: ops.mean(r - beta * kl)),
            "Beta multiplies the reconstruction. It is the weight of the KL.",
            _step(lambda r, kl, beta: ops.mean(beta * r + kl)),
            "The reconstruction is missing, or shrunk by a mean over pixels. It is a sum.",
            _step(lambda r, kl, beta: ops.mean(r / 784 + beta * kl)),
            "The step is right. What you return is the loss after it; return the one that you "
            "took the slopes of.",
            lambda vae, x: [_step()(vae, x), _no_step(vae, x)][1],
            "Two steps were made. Ask the optimizer once.",
            _step(times=2),
            "A step for each batch of 32 was made. All pictures belong to one step.",
            _batch_by_batch,
            "A step of learning rate times slope, made by hand. The model has an optimizer with "
            "a rule of its own: let it move the weights.",
            _step(move=_by_hand),
            "The decoder was handed z_mean. It must learn from codes that are drawn.",
            _step(terms_of=_terms_without_noise),
            "The step is right, but nothing is returned.",
            _step(returned=lambda r, kl, beta: None),
            "The step is right. Return one number, the mean over the pictures.",
            _step(returned=lambda r, kl, beta: r + beta * kl),
            "The step is right. The loss returned leaves out the KL.",
            _step(returned=lambda r, kl, beta: ops.mean(r)),
            "The step is right. The loss returned is a sum over the pictures.",
            _step(returned=lambda r, kl, beta: ops.sum(r + beta * kl)),
        ),
        measure=_moved,
        nudge="Which four lines of StepwiseVAE.train_step make the step?",
    ),
    3: Choice(
        "explore",
        "a",
        "A custom train_step says nothing about validation. Keras's own test_step calls the "
        "model and compares with a target, and we have neither; write test_step beside it.",
        {
            "b": "Look at the keys of the history with validation_data: is there a history?",
            "c": "Try it with None: does training itself need test_step?",
            "d": "Is any val_ key printed? Keras cannot guess that our loss has two terms.",
        },
        nudge="Make both calls, each in a cell of its own, and read the last line that comes out.",
    ),
    4: Choice(
        "explore",
        "d",
        "One step at 0.1 throws the codes to where they cost a thousand nats or far more. Some "
        "runs flee from there to codes that say nothing, one may recover, others stay at thousands "
        "of nats. Beyond 3.4e38, where float32 ends, the weights would turn into nan. Lower the "
        "rate, start anew.",
        {
            "a": "Compare the last loss of two or more seeds, at 0.01 and at 0.1.",
            "b": "Print the histories at 0.1. Is nan in every one of them?",
            "c": "A KL near 0 may mean that the codes say nothing. Look at the reconstruction "
            "next to it: what does a code that says nothing cost, by notebook 4?",
        },
        nudge="Look at the spread over the four seeds at each rate, and at both terms.",
    ),
    5: Number(
        "predict",
        _kl(0.8, 2 * log(0.1) + 1.0) - 2 * _kl(0.8, 0.5),
        "The cloud that is drawn costs 1.64 nats, and twice the counted 0.39 is charged. Beta 2 "
        "hides a part of the error here; at s = 0 and a mean of 0 it would hide nothing.",
        {
            _kl(0.8, 2 * log(0.1) + 1.0) - _kl(0.8, 0.5): "The counted KL enters the published "
            "loss twice.",
            2 * (_kl(0.8, 2 * log(0.1) + 1.0) - _kl(0.8, 0.5)): "Beta multiplies what is counted, "
            "not what the cloud costs.",
            _kl(0.8, 2 * log(0.1) + 1.0): "That is what the cloud costs. Some of it is charged.",
            2 * _kl(0.8, 0.5): "That is what is charged. What would be right?",
            _kl(0.8, 0.5): "That is the KL as counted. What would be right, and what is charged?",
            2 * _kl(0.8, 0.5) - _kl(0.8, 2 * log(0.1) + 1.0): "Turn the difference over: how much "
            "is missing?",
            _kl(0.8, 2 * log(0.1) + 0.5) - 2 * _kl(0.8, 0.5): "The width that is drawn is "
            "0.1 exp(s), not 0.1 exp(s / 2).",
            _kl(0.8, 1.0) - 2 * _kl(0.8, 0.5): "The noise has a standard deviation of 0.1.",
        },
        hint="Two KLs are needed: that of the width 0.1 exp(s), and that of the variance exp(s).",
        nudge="Which width is drawn at s = 0.5, and which one does the KL line believe in?",
    ),
}
