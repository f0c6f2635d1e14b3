from __future__ import annotations

import numpy as np
import pytest
from support.image_files import Image8


@pytest.fixture
def scene() -> Image8:
    """[48, 80, 3] without any symmetry."""
    y, x = np.mgrid[:48, :80]
    return np.stack([3 * x, 5 * y, (x * y) % 256], axis=-1).astype(np.uint8)
