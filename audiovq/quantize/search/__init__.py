"""The two functions under every quantizer, `nearest` and `code_stats`, and k-means."""
