"""The real data beside the checkout, where there is any; tests that need it are skipped
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def real_data() -> Path:
    if not _DATA.is_dir():
        pytest.skip("needs the data sets in ../shared/data")
    return _DATA


@pytest.fixture
def real_sms(real_data: Path) -> Path:
    return real_data / "sms-spam" / "SMSSpamCollection"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file: text as UTF-8 with its line ends unchanged, or bytes."""

    def write(content: str | bytes, name: str = "table") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write
