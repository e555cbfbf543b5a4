from pathlib import Path

import pytest
from tiny import write_backbone

from catdog.registry.store import ModelStore


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store with a backbone and no versions."""
    write_backbone(tmp_path / "models" / "backbones" / "none")
    return ModelStore(tmp_path / "models")
