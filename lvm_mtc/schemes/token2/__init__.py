"""The token codec, second generation."""
