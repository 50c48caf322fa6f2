"""What compiled loops share: vector code for numba, and a place on disk for what was compiled.

Only modules that compile something import from here, and they only where it is used: numba takes half a second.
"""
