"""SoftCast: video as a scaled three-dimensional DCT."""
