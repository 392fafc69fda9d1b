"""Named backbones (gpt2, gpt2-medium, ...): downloaded from the Hugging Face hub or from OpenAI,
verified, and cached.

Owns the list of files of each backbone, their addresses and their checksums; checkpoints.py and
gpt2/openai/checkpoint.py read them. The hub's client honours HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE,
HF_TOKEN and proxies. Sources: the hub's LFS metadata at the revisions below; tiktoken 0.12
openai_public.py (vocabulary checksums); rasbt/LLMs-from-scratch ch05 gpt_download.py (OpenAI's
addresses and the mirror).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tamis.cache import cache_directory
from tamis.download import Progress, fetch, is_verified
from tamis.errors import ConfigError, DownloadError, MissingExtraError, TamisError
from tamis.gpt2.hub_cache import cached_snapshot
from tamis.gpt2.hub_files import HubFiles, hub_client
from tamis.gpt2.openai.tensor_bundle import TensorBundle

Source = Literal["auto", "hub", "openai"]

OPENAI_BASES = (
    "https://openaipublic.blob.core.windows.net/gpt-2/models",
    "https://f001.backblazeb2.com/file/LLMs-from-scratch/gpt2",
)
_OPENAI_DATA = "model.ckpt.data-00000-of-00001"
_OPENAI_FILES = (
    "hparams.json",
    "checkpoint",
    "encoder.json",
    "vocab.bpe",
    "model.ckpt.index",
    _OPENAI_DATA,
)

# All of OpenAI's sizes, and DistilGPT2, have the same vocabulary, byte for byte.
VOCABULARY_SHA256 = {
    "tokenizer.json": "8414cab924d8b9b33013f0d221c5862f365ee9be39c5c2bfae8a5a9e970478a6",
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
OPENAI_SHA256 = {
    "encoder.json": VOCABULARY_SHA256["vocab.json"],
    "vocab.bpe": VOCABULARY_SHA256["merges.txt"],
}


@dataclass(frozen=True)
class NamedBackbone:
    """The addresses and checksums of one backbone.

    Hub files without a checksum here are compared with the checksum that the hub states.
    """

    name: str
    repository: str
    revision: str
    parameters: int
    sha256: dict[str, str]
    openai: str | None = None

    @property
    def repositories(self) -> tuple[str, str]:
        """The repository, and its former name on the hub, which older caches use."""
        return self.repository, self.name


NAMED_BACKBONES = {
    backbone.name: backbone
    for backbone in (
        NamedBackbone(
            "gpt2",
            "openai-community/gpt2",
            "607a30d783dfa663caf39e06633721c8d4cfcd7e",
            124_439_808,
            {
                "model.safetensors": (
                    "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"
                ),
                "config.json": "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4",
            },
            "124M",
        ),
        NamedBackbone(
            "gpt2-medium",
            "openai-community/gpt2-medium",
            "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
            354_823_168,
            {
                "model.safetensors": (
                    "fc5a354a19255ad494f3d71549390baca1ccf61d1d822b9408971705c687c9cd"
                ),
                "config.json": "ef1a44d889ad1a0acc7731c78134f1b87d2d222f110e97dd10fd4117331caf22",
            },
            "355M",
        ),
        # no published checksum was found for this one: the hub's own is used
        NamedBackbone(
            "gpt2-large",
            "openai-community/gpt2-large",
            "32b71b12589c2f8d625668d2335a01cac3249519",
            774_030_080,
            {},
            "774M",
        ),
        NamedBackbone(
            "gpt2-xl",
            "openai-community/gpt2-xl",
            "15ea56dee5df4983c59b2538573817e1667135e2",
            1_557_611_200,
            {
                "model.safetensors": (
                    "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a"
                ),
                "config.json": "be48115d52314bc27327e160bf10197760db02ea689d10adb24db4102edf7a8a",
            },
            "1558M",
        ),
        NamedBackbone(
            "distilgpt2",
            "distilbert/distilgpt2",
            "2290a62682d06624634c1f46a6ad5be0f47f38aa",
            81_912_576,
            {
                "model.safetensors": (
                    "e1ff18884359fe8beb795a5f414feb85a6ce3d929ad019c0d958c039d2b94a1b"
                ),
                "config.json": "4ec5947c1d59fee6212cdf3b0ec1a53eac02092554c5ff0a733488cbd2c64f3a",
            },
        ),
    )
}


def fetch_backbone(name: str, *, source: Source = "auto", progress: Progress | None = None) -> Path:
    """Return the folder with the verified files of a named backbone, after a download if necessary.

    Args:
        name: one of `NAMED_BACKBONES`.
        source: `hub` gives a folder in the Hugging Face layout, `openai` one in OpenAI's; `auto`
            uses cached files, else the hub, else OpenAI's files.
        progress: called with (bytes so far, total bytes or None) for the file of the weights.

    Raises:
        ConfigError: an unknown name or source, **or** a backbone that OpenAI never published.
        MissingExtraError: only the hub has the files and `huggingface-hub` is not installed.
        DownloadError: no source delivered the files, **or** they have wrong checksums.
    """
    if not isinstance(name, str) or name not in NAMED_BACKBONES:
        raise ConfigError(
            f"backbone {name!r} is not one of {sorted(NAMED_BACKBONES)}; choose one of them or "
            "give a folder"
        )
    backbone = NAMED_BACKBONES[name]
    sources: dict[str, Callable[[NamedBackbone, Progress | None], Path]] = {"hub": _from_hub}
    if backbone.openai is not None:
        sources["openai"] = _from_openai
    if source == "auto":
        order = list(sources)
        if "openai" in sources and _is_complete(backbone) and _cached_repository(backbone) is None:
            order.reverse()
    elif source in sources:
        order = [source]
    else:
        raise ConfigError(
            f"backbone {name}: source: expected one of {['auto', *sources]}, got {source!r}"
        )
    failures: list[TamisError] = []
    for one in order:
        try:
            return sources[one](backbone, progress)
        except TamisError as error:
            failures.append(error)
    if len(failures) == 1 and isinstance(failures[0], MissingExtraError):
        raise failures[0]
    raise DownloadError(
        f"backbone {name} could not be downloaded; tried "
        f"{'; '.join(str(failure) for failure in failures)}. Without a network, put config.json, "
        "model.safetensors and tokenizer.json (or OpenAI's files) into a folder and pass it "
        "with --backbone FOLDER, or use the embedded backbone nano"
    )


# The Hugging Face hub.


def _from_hub(backbone: NamedBackbone, progress: Progress | None) -> Path:
    hub = hub_client()
    if hub is None:
        found = _cached_without_client(backbone)
        if found is not None:
            return found
        raise MissingExtraError(
            "huggingface-hub", "hub", f"downloading {backbone.name} from the Hugging Face hub"
        )
    repository = _cached_repository(backbone) or backbone.repository
    # The vocabulary is GPT-2's unless the backbone states another one.
    checksums = VOCABULARY_SHA256 | backbone.sha256
    files = HubFiles(hub, repository, backbone.revision, checksums)
    with files.errors():
        files.bring("config.json")
        try:
            files.bring("tokenizer.json")
        except (
            hub.errors.EntryNotFoundError
        ):  # on the hub, or in the cache if the hub cannot be reached
            files.bring("vocab.json")
            files.bring("merges.txt")
        return files.bring("model.safetensors", progress).parent


def _cached_without_client(backbone: NamedBackbone) -> Path | None:
    """Return the verified files in the hub's cache where its client is not installed."""
    checksums = VOCABULARY_SHA256 | backbone.sha256
    for repository in backbone.repositories:
        folder = cached_snapshot(repository, backbone.revision)
        if folder is None or not (folder / "model.safetensors").is_file():
            continue
        for file in folder.iterdir():
            if file.name in checksums and not is_verified(file, sha256=checksums[file.name]):
                raise DownloadError(
                    f"{file}: expected checksum {checksums[file.name]}, got another one; delete "
                    "the file or clear the hub's cache"
                )
        return folder
    return None


def _cached_repository(backbone: NamedBackbone) -> str | None:
    """Return the repository name under which the hub's cache already has the weights."""
    hub = hub_client()
    if hub is None:
        return None
    for repository in backbone.repositories:
        found = hub.try_to_load_from_cache(
            repository, "model.safetensors", revision=backbone.revision
        )
        if isinstance(found, str):
            return repository
    return None


# OpenAI's own files.


def _openai_folder(backbone: NamedBackbone) -> Path:
    return cache_directory() / "backbones" / f"openai-{backbone.openai}"


def _openai_size(backbone: NamedBackbone, file: str) -> int | None:
    return 4 * backbone.parameters if file == _OPENAI_DATA else None  # only float32, without gaps


def _is_complete(backbone: NamedBackbone) -> bool:
    folder = _openai_folder(backbone)
    data = folder / _OPENAI_DATA
    complete = all((folder / file).is_file() for file in _OPENAI_FILES)
    return complete and data.stat().st_size == _openai_size(backbone, _OPENAI_DATA)


def _from_openai(backbone: NamedBackbone, progress: Progress | None) -> Path:
    """Return the folder of OpenAI's files in the cache directory.

    gpt2/openai/checkpoint.py checks the CRCs of the tensors when it reads them.
    """
    folder = _openai_folder(backbone)
    for file in _OPENAI_FILES:
        fetch(
            [f"{base}/{backbone.openai}/{file}" for base in OPENAI_BASES],
            folder / file,
            sha256=OPENAI_SHA256.get(file),
            size=_openai_size(backbone, file),
            what=f"OpenAI's {backbone.openai} {file}",
            progress=progress if file == _OPENAI_DATA else None,
        )
    TensorBundle(folder / "model.ckpt")  # a damaged index is found now, not at the first use
    return folder
