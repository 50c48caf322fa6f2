"""What a model is worth: likelihood, distances to the original, digits and speakers recognised, with their intervals.

Everything here takes arrays, callables and models, and knows neither `.codes` files nor the command line.
"""
