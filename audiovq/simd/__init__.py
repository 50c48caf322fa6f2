"""Shared parts of compiled loops: vector code for numba, and a cache on disk for what was compiled.

Only modules that compile something import from here, and only where they use it, because importing numba takes half a
second.
"""
