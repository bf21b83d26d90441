"""Exercises of notebook 07."""

from helpers.exercises.engine import Build, Choice, Number, slips

import numpy as np
from keras import ops

EXERCISES = {
    1: Choice(
        "predict",
        "d",
        "A mean over 784 pixels is a beta of 784. Even the first nat saves only some 32, so no "
        "weak code pays, with warm-up or without.",
        {
            "a": "That happens below what the first nat saves. What does a nat of KL cost here, "
            "and could a unit that lives pay for it?",
            "b": "Where clouds overlap because the KL is cheap, it would not be 0. How much does "
            "a mean over pixels leave of the reconstruction loss?",
            "c": "The same decoder uses its code with a sum over the pixels. What did the mean "
            "change?",
        },
        nudge="How many nats of reconstruction, a sum over pixels, does a nat of KL cost here?",
    ),
    2: Number(
        "predict",
        0.384,
        "A nat of reconstruction weighs 1/12288 and a nat of KL 0.001/32; their ratio is 0.384. "
        "The factor that gives beta 1 here is 32/12288 = 0.0026.",
        {
            0.001: "That is beta only if pixels and units are summed. Here both are averaged.",
            12.288: "The mean over the units divides the KL, too.",
            393.216: "The mean over 32 units makes a nat of KL weigh less, not more.",
            0.128: "Each of the 4096 pixels has 3 channels, and each channel has a loss.",
            384: "You have the two means. Where is the factor 0.001?",
            1 / 0.384: "This is the weight of the reconstruction against the KL. Turn it over.",
            0.001 / 32: "That is what a nat of KL weighs. And a nat of reconstruction?",
            0.0245: "The mean runs over 64 x 64 x 3 values here, not over 784.",
        },
        hint="What does a nat of KL in one unit add to the loss, and what a nat in one value?",
        nudge="By which number is each of the two terms divided, and what else multiplies one?",
    ),
    3: Build(
        "objective_with_target(reconstruction, kl_of_units, weight, target)",
        lambda d, kl, weight, target: d + weight * ops.abs(ops.sum(kl) - target),
        lambda: [
            (np.float32(120.5), np.float32([0.3, 1.1, 0.7]), 10.0, 5.0),  # below the target
            (np.float32(98), np.float32([2.5, 0.2, 1.9, 0.01, 3.3]), 4.0, 3.0),  # above
            (np.float32(150), np.float32([0.6, 0.9]), 0.5, 20.0),
            (np.float32(122), np.linspace(0, 1.4, 16, dtype="float32"), 4.0, 8.0),
        ],
        "Below the target each nat of KL is rewarded, above it is charged; so the weight, if it "
        "is large enough, holds the KL at C, and all that is left to lower is the distortion.",
        slips(
            "A KL below the target is rewarded here. A distance has no sign.",
            lambda d, kl, weight, target: d + weight * (ops.sum(kl) - target),
            "The target holds for the sum over the units, not for each unit.",
            lambda d, kl, weight, target: d + weight * ops.sum(ops.abs(kl - target)),
            "This is a mean over the units. The KL of a code is their sum.",
            lambda d, kl, weight, target: d + weight * ops.abs(ops.mean(kl) - target),
            "This is the squared distance. It hardly pulls when the KL is near the target.",
            lambda d, kl, weight, target: d + weight * ops.square(ops.sum(kl) - target),
            "This is an allowance: below the target the loss should still depend on the KL.",
            lambda d, kl, weight, target: d + weight * ops.maximum(ops.sum(kl), target),
            "Below the target nothing is charged here, so nothing pulls the KL up.",
            lambda d, kl, weight, target: d + weight * ops.relu(ops.sum(kl) - target),
            "The weight belongs to the distance, not to the KL before the target is taken off.",
            lambda d, kl, weight, target: d + ops.abs(weight * ops.sum(kl) - target),
            "The weight is missing.",
            lambda d, kl, weight, target: d + ops.abs(ops.sum(kl) - target),
            "NumPy and float() leave the tape: no gradient comes back. Write it with keras.ops.",
            lambda d, kl, weight, target: np.asarray(d + weight * abs(np.sum(kl) - target)),
            "The reconstruction is missing: without it no code need say anything.",
            lambda d, kl, weight, target: weight * ops.abs(ops.sum(kl) - target),
            "The weight multiplies the reconstruction, too.",
            lambda d, kl, weight, target: weight * (d + ops.abs(ops.sum(kl) - target)),
        ),
        gradient=(0, 1),
        nudge="What should the loss be at a KL of C, and what a nat above it and a nat below?",
    ),
    4: Choice(
        "explore",
        "b",
        "The first nat saves some 32: at a higher price even the weakest code costs more than it "
        "saves. No model need have been trained at your price: the curve alone decides.",
        {
            "a": "Its sum with a price of 1 is lowest. What is lowest at 8, and at 16?",
            "c": "Try 24, 28 and 40, and look up the rate of the model that is named.",
            "d": "It costs its price times its rate, as well. Look at 0.3, then at 4.",
        },
        nudge="Which model is named at a price below 1, at some prices between, and at 40?",
    ),
}
