"""The sampling layer, notebook 02: a random draw that lets gradients through."""

from helpers.argument_checks import check_whole

import keras
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable("vae_course")
class Sampling(keras.layers.Layer):
    """Draws z = z_mean + exp(z_log_var / 2) * epsilon with epsilon from N(0, I).

    The reparameterisation of Kingma and Welling 2013 (arXiv 1312.6114, section 2.4).
    Takes the pair (z_mean, z_log_var), both (n, latent_dim), and returns z of the same
    shape. The same `seed` gives the same draws; None takes one from Keras's global seed.
    """

    def __init__(self, seed: int | None = None, **kwargs) -> None:
        """Create the layer with a noise generator of its own."""
        super().__init__(**kwargs)
        self.seed = seed if seed is None else check_whole("seed", seed, 0, 2**32 - 1)
        self.noise = keras.random.SeedGenerator(self.seed)

    def call(self, inputs: tuple[KerasTensor, KerasTensor]) -> KerasTensor:
        """Draw one z for each row of z_mean and z_log_var."""
        z_mean, z_log_var = (ops.cast(value, self.compute_dtype) for value in inputs)
        if z_mean.shape != z_log_var.shape:
            shapes = f"{tuple(z_mean.shape)} and {tuple(z_log_var.shape)}"
            raise ValueError(f"inputs: expected z_mean and z_log_var of one shape, got {shapes}")
        epsilon = keras.random.normal(ops.shape(z_mean), dtype=z_mean.dtype, seed=self.noise)
        return z_mean + ops.exp(z_log_var / 2) * epsilon

    def compute_output_shape(self, input_shape: list) -> tuple:
        """z has the shape of z_mean."""
        return input_shape[0]

    def get_config(self) -> dict:
        """The arguments that make the same layer again."""
        return {**super().get_config(), "seed": self.seed}


def add_sampling(encoder: keras.Model, sampling: keras.layers.Layer | None = None) -> keras.Model:
    """The encoder with a third output: x -> z_mean, z_log_var, z.

    The weights are shared with `encoder`; the layer, `Sampling()` unless given, adds none.

    Raises:
        ValueError: `encoder` does not have the two outputs z_mean and z_log_var.
    """
    if (count := len(encoder.outputs)) != 2:
        raise ValueError(f"encoder: expected two outputs, z_mean and z_log_var, got {count}")
    sampling = Sampling(name="z") if sampling is None else sampling
    z = sampling(encoder.outputs)
    return type(encoder)(encoder.input, [*encoder.outputs, z], name=encoder.name)
