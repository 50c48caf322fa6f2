"""WaveNet's gated stack: `stack` defines it; `steps` feeds it sample by sample; `loops` and `bf16` are its fast forms."""
