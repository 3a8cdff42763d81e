"""Stable Diffusion in parts, with layers that keep less for the backward pass."""
