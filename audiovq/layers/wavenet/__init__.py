"""WaveNet: `stack` defines it; `steps` feeds it sample by sample; `loops` and `bf16` are faster forms of the gates."""
