"""Point clouds: their moments or points as they are, and a learned codec on standard constellations."""
