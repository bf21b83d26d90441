// The decoder of a VAE, computed in the page.

const ACTIVATIONS = {
  linear: (v) => v,
  relu: (v) => Math.max(v, 0),
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
  tanh: Math.tanh,
};

/** The Dense layers of a decoder, cut from the bytes of their weights. */
export function unpack(layers, view) {
  let at = view.byteOffset;
  const take = (count) => new Float32Array(view.buffer.slice(at, (at += 4 * count)));
  return layers.map(([inputs, units, activation]) => ({
    kernel: take(inputs * units),
    bias: take(units),
    activation: ACTIVATIONS[activation],
  }));
}

/** What a decoder makes of a point z: 784 probabilities of ink. */
export function decode(decoder, z) {
  let values = Float32Array.from(z);
  for (const { kernel, bias, activation } of decoder) {
    const sums = Float32Array.from(bias);
    values.forEach((value, i) => {
      const row = i * sums.length;
      for (let k = 0; k < sums.length; k++) sums[k] += value * kernel[row + k];
    });
    values = sums.map(activation);
  }
  return values.map(ACTIVATIONS.sigmoid);
}
