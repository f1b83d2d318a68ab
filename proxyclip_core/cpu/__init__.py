"""Faster products on a CPU."""

from proxyclip_core.cpu.products import chosen_kernels

__all__ = ["chosen_kernels"]
