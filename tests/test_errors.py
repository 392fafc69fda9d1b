"""What an error says to do: the command that installs an extra the way tamis was installed."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import tamis.errors
from tamis import errors
from tamis.errors import MissingExtraError, install_command

ROOT = Path(__file__).resolve().parents[1]


class Installed:
    """A distribution with a record of where it came from."""

    def __init__(self, origin: Any) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The package lies in a folder of installed packages instead of a checkout."""
    place = tmp_path / "lib" / "python" / "site-packages" / "tamis" / "errors.py"
    monkeypatch.setattr(tamis.errors, "__file__", str(place))
    return tmp_path


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, 'pip install "tamis[hub]"'),
        ({"url": "file:///srv/some%20code/tamis"}, 'pip install "/srv/some code/tamis[hub]"'),
        ({"url": "https://example.org/tamis.whl"}, 'pip install "tamis[hub]"'),
    ],
)
def test_an_extra_is_installed_from_where_the_package_came(
    origin: Any, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(origin))
    assert install_command("hub") == command


@pytest.mark.usefixtures("elsewhere")
def test_a_package_without_a_record_comes_from_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", unknown)
    assert install_command("hub") == 'pip install "tamis[hub]"'


def test_a_checkout_is_installed_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    assert install_command("serve") == 'pip install -e ".[serve]"'
    monkeypatch.chdir(tmp_path)
    assert install_command("serve") == f'pip install -e "{ROOT}[serve]"'
    assert install_command("serve") in str(MissingExtraError("uvicorn", "serve", "tamis serve"))


def test_an_error_of_another_process_has_its_class_and_its_words() -> None:
    lacking = errors.MissingExtraError("ray", "ray", "the engine")
    told = errors.told_error(type(lacking).__name__, str(lacking))
    assert type(told) is errors.MissingExtraError and str(told) == str(lacking)
    assert type(errors.told_error("DataError", "row 3")) is errors.DataError
    for unknown in ("Other", "told_error", "Any"):
        assert type(errors.told_error(unknown, "x")) is errors.TamisError
