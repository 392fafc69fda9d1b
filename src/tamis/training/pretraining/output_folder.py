"""Where a pretraining may be written: a new folder, an empty one, or one that holds a pretraining
already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tamis.errors import ConfigError, RunError, TamisError
from tamis.gpt2.backbones import local_folder
from tamis.training.pretraining.checkpoint import LATEST, STABLE
from tamis.training.pretraining.encoder_conversion import EncoderStart
from tamis.training.pretraining.result import FACTS

WORK = "pretraining"
"""Folder of the state, inside of the result's."""
TOKENIZER_OF = "tokenizer.sha256"
"""File beside the kept tokenizer: hash of the texts and the size that it was trained for."""
_KNOWN = {LATEST, STABLE, TOKENIZER_OF, "lock", "tokenizer.json", "tokenizer_config.json"}
_KNOWN_BEGINNINGS = ("lock.", "stage-", ".")


def check_folder(out: Path, start: str | Path | EncoderStart | None) -> None:
    """See to it that nothing of anybody else is written over.

    Args:
        out: folder for the result.
        start: the backbone or the sentence encoder to begin from, None for none.

    Raises:
        ConfigError: the backbone or encoder lies in `out` itself.
        RunError: `out` is no folder, or holds something that is no pretraining.
    """
    given = start.folder if isinstance(start, EncoderStart) else start
    before = None if given is None else local_folder(given)
    if before is not None and before.resolve() == out.resolve():
        option = "--from-encoder" if isinstance(start, EncoderStart) else "--from"
        raise ConfigError(
            f"{option} {given} is the folder that the result is to be written to; choose another "
            "with -o"
        )
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not _is_pretraining(out))):
        raise RunError(
            f"{out} exists and is not a pretraining; choose another folder with -o (nothing in "
            "it was touched)"
        )


def _is_pretraining(out: Path) -> bool:
    if (out / FACTS).is_file():
        return True
    if not (out / WORK).is_dir():
        return False
    inside = [path.name for path in (out / WORK).iterdir()]
    alone = [path.name for path in out.iterdir()] == [WORK]
    return all(name in _KNOWN or name.startswith(_KNOWN_BEGINNINGS) for name in inside) and bool(
        inside or alone
    )


@contextlib.contextmanager
def made(work: Path) -> Iterator[None]:
    """The folder `work` for the block; where it is refused and has written nothing, the folders are
    as they were before.
    """
    new = [folder for folder in (work, *work.parents) if not folder.exists()]
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except TamisError:
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for folder in new:
                folder.rmdir()
        raise
