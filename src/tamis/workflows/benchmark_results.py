"""The results of `tamis bench`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Bulk:
    """Results for batches of messages."""

    name: str
    messages_per_s: float
    tokens_per_s: float | None
    """Tokens of the subject's tokenizer; None for contenders without tokens."""
    share_of_ceiling: float | None
    """Useful operations per second, as a fraction of those of plain matrix products of the same
    shapes and dtype, measured in the same round; None also where that measurement was disturbed."""
    times_first: float
    """Speed relative to the first contender; median over the rounds."""
    rounds: list[float]
    """Messages per second in each round."""
    texts: int
    """Messages per round: the same for all, but fewer for a much slower contender (see `notes`)."""


@dataclass(frozen=True)
class Single:
    """Results for single messages."""

    name: str
    p50_ms: float
    p99_ms: float
    calls: int
    """Number of measured texts, the same for all; with 200 texts, two are above `p99_ms`."""


@dataclass(frozen=True)
class Start:
    """A new process: seconds to import, to load and to score a first text, and memory in megabytes
    afterwards.
    """

    dtype: str
    import_s: float
    load_s: float
    first_text_s: float
    memory_mb: float | None


@dataclass(frozen=True)
class Beside:
    """Results while another process keeps one core busy."""

    name: str
    messages_per_s: float
    share_of_idle: float
    """Of its own speed in batches without that process."""
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Bench:
    """All results."""

    subject: str
    threads: int
    torch: str
    ceiling_gflops: dict[str, float]
    bulk: list[Bulk]
    single: list[Single]
    start: list[Start]
    same_labels: dict[str, float]
    """Fraction of messages with the same label as in fp32, by dtype."""
    notes: list[str] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)
    """Results while another process keeps one core busy; only if asked for."""
    busy_cores: float | None = None
    """Cores that other programs kept busy before the measurement; None where it is unknown."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values."""
        return asdict(self)
