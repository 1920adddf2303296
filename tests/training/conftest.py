"""What several tests of this folder need."""

import pytest
from tiny_yolox import tiny_graph


@pytest.fixture
def tiny_yolox():
    """YOLOX's heads, each on one convolution of the picture."""
    return tiny_graph()
