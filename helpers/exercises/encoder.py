"""Exercises of notebook 01."""

from helpers.exercises.engine import Build, Choice, Number, case_rng, slips

from collections.abc import Callable

import numpy as np


def _pair(*names: str) -> Callable[..., dict]:
    """Count the arrays and measure a pair under these names; what is no pair is one array."""

    def measure(function: Callable, *case: object) -> dict:
        parts = function(*case)
        if parts is None:
            return {}
        if not isinstance(parts, tuple | list) and np.ndim(parts) < 3:
            parts = [parts]
        count = {"number of arrays returned": len(parts)}
        return count | dict(zip(names, parts, strict=False))

    return measure


def _clouds() -> list[tuple]:
    rng = case_rng(4)
    shapes = [(1_000, 2), (64, 10), (2, 2)]
    return [(rng.normal(0, 2, shape), rng.normal(-2, 3, shape)) for shape in shapes]


def _ends(reach: Callable) -> Callable:
    return lambda m, s: (m - reach(s), m + reach(s))


def _weights() -> list[tuple]:
    rng = case_rng(5)
    cases = []
    for n, p, h, d in [(32, 784, 64, 2), (2, 784, 16, 10)]:
        shapes = [(p, h), (h,), (h, d), (d,), (h, d), (d,)]
        weights = [rng.normal(0, 0.2, shape).astype("float32") for shape in shapes]
        cases.append((weights, rng.random((n, p), "float32")))
    return cases


def relu(a: np.ndarray) -> np.ndarray:
    """What a hidden layer does to its sums."""
    return np.maximum(a, 0)


def forward(
    activation: Callable = relu, first: float = 1, second: float = 1, end: Callable = np.asarray
) -> Callable:
    """The forward pass to each head, with its biases multiplied by `first` and `second`."""

    def outputs(weights: list, inputs: np.ndarray) -> tuple:
        kernel, bias, *heads = weights
        hidden = activation(inputs @ kernel + first * bias)
        pairs = zip(heads[::2], heads[1::2], strict=True)
        return tuple(end(hidden @ head + second * its_bias) for head, its_bias in pairs)

    return outputs


EXERCISES = {
    1: Number(
        "predict",
        51_540,
        "The body keeps its 50,240. Each head has 64 times 10 weights and 10 biases, 650.",
        {
            50_890: "That is the body with one head. The encoder has two.",
            51_520: "The weights are counted. Each head has biases, too.",
            51_456: "These are the weights alone. Every layer has a bias for each of its units.",
            51_476: "The body's biases are missing: 64 of them.",
            252_500: "The body does not depend on latent_dim. Only the heads grow.",
            50_500: "That is the encoder of the text. Here each head has ten outputs.",
            1_300: "These are the heads. The body has to learn, too.",
        },
        tolerance=1e-6,
        hint="Add three layers: the body, and the two heads with 64 inputs and 10 outputs each.",
        nudge="Which of the encoder's three layers have to do with latent_dim at all?",
    ),
    2: Build(
        "ends_of_clouds(z_mean, z_log_var)",
        _ends(lambda s: 2 * np.exp(s / 2)),
        _clouds,
        "The head gives a logarithm of a variance: exp undoes the logarithm, the half in it "
        "takes the root.",
        slips(
            "This is one array. There are two answers, the low ends and the high ends: return "
            "both, separated by a comma.",
            lambda m, s: m - 2 * np.exp(s / 2),
            "exp(z_log_var) is the variance. The ends are counted in standard deviations.",
            _ends(lambda s: 2 * np.exp(s)),
            "Half of the logarithm of the variance is the logarithm of the standard deviation, "
            "not yet the standard deviation.",
            _ends(lambda s: s),
            "z_log_var is a logarithm. Nothing has undone it yet.",
            _ends(lambda s: 2 * s),
            "This is the end of one standard deviation. The ellipses reach two.",
            _ends(lambda s: np.exp(s / 2)),
            "Four standard deviations are the whole width of an ellipse. How far is it from the "
            "centre to the edge?",
            _ends(lambda s: 4 * np.exp(s / 2)),
            "A minus sign in the exponent makes wide clouds narrow. Which way does the width go "
            "when z_log_var grows?",
            _ends(lambda s: 2 * np.exp(-s / 2)),
            "The two ends are exchanged. Which of them comes first?",
            lambda m, s: (m + 2 * np.exp(s / 2), m - 2 * np.exp(s / 2)),
            "These clouds lie around 0. Where is their centre?",
            lambda m, s: (-2 * np.exp(s / 2), 2 * np.exp(s / 2)),
        ),
        measure=_pair("low ends", "high ends"),
        nudge="What is the standard deviation of a cloud whose head says z_log_var = 0, and where "
        "does that cloud end?",
    ),
    3: Choice(
        "explore",
        "c",
        "Shapes and activations agree, so each head does the other's work. A name gives no role; "
        "whoever reads the second output as a log-variance now reads the old mean.",
        {
            "a": "Call the function. Does set_weights look at names, or at shapes?",
            "b": "The layers are of the same kind, but each began with random weights of its own. "
            "Compare the numbers before and after.",
            "d": "No logarithm is computed anywhere in the encoder. Compare the second output "
            "after with the first one before.",
        },
        nudge="The function returns two lists of two arrays each: which of the four are alike?",
    ),
    4: Choice(
        "explore",
        "a",
        "Both heads give 255 times as much, since the biases of a new encoder are 0; for a width "
        "that is a power: 0.9 becomes 0.9 to the 255th. As 32-bit floats the largest variances "
        "would be infinite.",
        {
            "b": "The log-variance is 255 times as large. What does exp make of a factor?",
            "c": "Print the widths for scaled pixels and for bytes next to each other. Are they "
            "around 1 in both?",
            "d": "Look at the smallest of the 1,000, too. What becomes of a negative log-variance?",
        },
        nudge="Print the smallest and the largest width of centres_and_widths(1000, scaled=False).",
    ),
    5: Build(
        "encode_by_hand(weights, images)",
        forward(),
        _weights,
        "Each layer is a matrix product and a bias, and only the body has a ReLU. The two heads "
        "differ in their numbers and in nothing else.",
        slips(
            "This is one array. The encoder has two heads: return what both say.",
            lambda w, x: forward()(w, x)[0],
            "The hidden layer has an activation: what does ReLU do to negative values?",
            forward(np.asarray),
            "The heads have no activation. They may give negative numbers.",
            forward(end=relu),
            "The hidden layer's bias is missing.",
            forward(first=0),
            "The biases of the heads are missing.",
            forward(second=0),
            "All biases are missing: each layer adds one after its product.",
            forward(first=0, second=0),
            "The bias comes before the ReLU, not after it.",
            lambda w, x: tuple((relu(x @ w[0]) + w[1]) @ w[k] + w[k + 1] for k in (2, 4)),
            "The two heads are exchanged. Which pair of arrays comes first in the list?",
            lambda w, x: forward()(w, x)[::-1],
            "The second head gives the log-variance as it is, without exp.",
            lambda w, x: (forward()(w, x)[0], np.exp(forward()(w, x)[1])),
            "That is a sigmoid in the hidden layer. The encoder has a ReLU there.",
            forward(lambda a: 1 / (1 + np.exp(-a))),
        ),
        measure=_pair("z_mean", "z_log_var"),
        nudge="Which two of the six arrays turn the images into the 64 hidden values, and what is "
        "done to these before the heads see them?",
    ),
}
