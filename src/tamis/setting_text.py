"""Settings as text: one read from a command line or written as TOML, and what the switch `--harden` stands for."""

from __future__ import annotations

import json
import re
import tomllib
from decimal import Decimal, InvalidOperation
from typing import Any

from tamis.errors import ConfigError

HARDENED: dict[str, Any] = {
    "text.normalise": "harden",
    "text.position": "attention",
    "train.attacked_positives": 3.0,
    "train.attacked_negatives": 1.0,
}
"""What `--harden` sets; a setting given beside it wins."""


def parse_setting(text: str) -> tuple[str, Any]:
    """`name=value` from a command line; the value is TOML where it parses as TOML, else a plain string; `none` unsets.

    Raises:
        ConfigError: there is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"a setting is written name=value; got {text!r}")
    if value.strip().lower() == "none" and name.strip().rpartition(".")[2] not in ("class_weight", "split", "padding", "normalise"):
        return name.strip(), None
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def without_percent(value: Any) -> Any:
    """A share written as `0.2%` as a number; anything else as it is."""
    if not (isinstance(value, str) and value.strip().endswith("%")):
        return value
    try:
        return float(Decimal(value.strip()[:-1].strip()) / 100)  # 0.1 % is the same number as 0.001
    except InvalidOperation:
        return value


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        pairs = (f"{key if re.fullmatch(r'[A-Za-z0-9_-]+', key) else toml_value(key)} = {toml_value(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return repr(value)
