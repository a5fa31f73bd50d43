"""Triton kernels, imported as ``structgen.kernels``.

One operation a file, with its plain-torch reference beside it.
"""
