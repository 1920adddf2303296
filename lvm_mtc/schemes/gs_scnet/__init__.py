"""Stereo pairs as latents, of which Gaussians are made."""
