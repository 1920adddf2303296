"""Two superposed UAVs whose codecs look at each other as far as their pictures are alike."""
