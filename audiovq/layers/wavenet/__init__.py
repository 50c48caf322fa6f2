"""WaveNet's stack of dilated layers: one definition, and two faster forms of the same function.

`stack.WaveNetStack` is the definition (arXiv 1609.03499) and holds the weights. It takes whole sequences, on every
device, in every precision, with gradients. The other two read its weights:

- `bf16.GatedLayers`, with its loops in `loops`, is taken by `WaveNetStack.forward` on a CPU under autocast to bfloat16.
  tests/layers/wavenet/test_bf16.py holds it to the definition, forwards and backwards.
- `steps.WaveNetSteps` goes one position at a time, without gradients and with one condition for all positions. Priors
  draw codes with it, on every device. tests/prior/test_sampling.py holds it to the definition.

Sound is drawn with `audiovq.audio.wavenet_sampler`, whose docstring says the same of its forms.
"""
