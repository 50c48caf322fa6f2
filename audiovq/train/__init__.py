"""Training on Lightning: what all runs share; `speech`, `image` and `prior` say what is trained, and on what."""
