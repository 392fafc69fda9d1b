"""What to do if a path that should be a folder with OpenAI's files is not one: the name of a model,
a folder in another layout, one file of the folder, or the folder above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SIZES: Mapping[str, str] = {
    "gpt2": "124M",
    "gpt2-medium": "355M",
    "gpt2-large": "774M",
    "gpt2-xl": "1558M",
}
"""The models that OpenAI published: the name in tamis and on the hub, and OpenAI's name of the
size."""
_HUGGING_FACE = ("config.json", "model.safetensors", "pytorch_model.bin")
_OPENAI = ("hparams.json", "checkpoint", "model.ckpt.index")
_LAYOUT = "a folder with OpenAI's files (hparams.json, checkpoint, model.ckpt.*)"


def problem_of(folder: Path) -> str | None:
    """Return what is wrong with `folder` and what to do; None if it may hold OpenAI's files."""
    if not folder.exists():
        return f"{folder}: expected {_LAYOUT}, {_of_name(folder)}"
    if not folder.is_dir():
        return f"{folder}: expected {_LAYOUT}, got a file; pass its folder, {str(folder.parent)!r}"
    if any((folder / name).exists() for name in _OPENAI):
        return None
    if any((folder / name).is_file() for name in _HUGGING_FACE):
        return (
            f"{folder}: expected {_LAYOUT}, found a folder in the layout of Hugging Face; read it "
            f"with load_backbone({str(folder)!r}), whose `model` has the same weights"
        )
    below = sorted(file.parent for file in folder.glob("*/hparams.json"))
    if below:
        return (
            f"{folder}: expected {_LAYOUT}, found them in {', '.join(map(str, below))}; pass that "
            f"folder: read_openai({str(below[0])!r})"
        )
    return (
        f"{folder}: expected {_LAYOUT}, found none of them; to download GPT-2 124M into the "
        f"cache, {_FETCH.format(name='gpt2')}"
    )


_FETCH = (
    'call read_openai(fetch_backbone("{name}", source="openai")); both functions are in tamis.gpt2'
)


def _of_name(path: Path) -> str:
    """Describe a path that does not exist, and say what to do."""
    # A hub name is ORGANIZATION/NAME; what stands before the name does not matter here.
    by_size = {size.casefold(): name for name, size in SIZES.items()}
    last = path.name.casefold()
    name = last if last in SIZES else by_size.get(last.removeprefix("gpt2-"))
    hub = len(path.parts) == 2 and path.parts[0] == "openai-community"
    if name is not None and (len(path.parts) == 1 or hub):
        return (
            f"got the name of a model, and there is no folder of that name here. To download "
            f"OpenAI's files (GPT-2 {SIZES[name]}), {_FETCH.format(name=name)}. If you have the "
            "files, pass the path of their folder. load_backbone reads the files of the Hugging "
            f'Face hub instead: load_backbone("{name}")'
        )
    if len(path.parts) == 1 and last in ("nano", "distilgpt2"):
        return (
            "got the name of a model that OpenAI did not publish; read it with "
            f'load_backbone("{last}")'
        )
    return (
        f"found no such folder. Check the path; or, to download GPT-2 124M, "
        f"{_FETCH.format(name='gpt2')}"
    )
