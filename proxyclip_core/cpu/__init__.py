"""Faster products on a CPU."""
