"""Names of binary formats by content, to refuse a file that is no text, no table and no mail.

`compression` decompresses; `parquet_reader` reads the one binary format with rows. The signatures
are those of the formats' own specifications.
"""

from __future__ import annotations

import re

from tamis.errors import DataError

_CSV = "export its rows as CSV"
_PLAIN = "save its text as a .txt file"
_MODEL = "give a table or a text; a model or an array holds none"
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF-", "a PDF document", "extract its text first, for example with pdftotext"),
    (b"{\\rtf", "an RTF document", _PLAIN),
    (b"%!PS", "a PostScript document", "extract its text first, for example with ps2ascii"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Office or Outlook file (.doc, .xls, .msg)",
        "save it as .txt, .csv or .eml",
    ),
    (b"SQLite format 3\0", "an SQLite database", _CSV),
    (b"ARROW1\0\0", "an Arrow or Feather table", "write it as Parquet or CSV"),
    (b"ORC", "an ORC table", "write it as Parquet or CSV"),
    (b"Obj\x01", "an Avro file", "write it as Parquet or CSV"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _CSV),
    (b"\x93NUMPY", "a NumPy array", _CSV),
    (b"RDX", "an R data file", _CSV),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", ""),
    (b"GIF87a", "a GIF image", ""),
    (b"GIF89a", "a GIF image", ""),
    (b"II*\0", "a TIFF image", ""),
    (b"MM\0*", "a TIFF image", ""),
    (b"\0\0\1\0", "an icon", ""),
    (b"8BPS\0", "a Photoshop image", ""),
    (b"\x7fELF", "an executable (ELF)", ""),
    (b"\xcf\xfa\xed\xfe", "an executable (Mach-O)", ""),
    (b"\xce\xfa\xed\xfe", "an executable (Mach-O)", ""),
    (b"\xca\xfe\xba\xbe", "a Java class or an executable (Mach-O)", ""),
    (b"\0asm", "a WebAssembly module", ""),
    (b"ID3", "an MP3 sound file", ""),
    (b"fLaC", "a FLAC sound file", ""),
    (b"OggS\0", "an Ogg sound file", ""),
    (b"MThd\0", "a MIDI file", ""),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video", ""),
    (b"FLV\x01", "a Flash video", ""),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "extract it and give one file in it"),
    (b"Rar!\x1a\x07", "a RAR archive", "extract it and give one file in it"),
    (b"MSCF\0\0\0\0", "a cabinet archive", "extract it and give one file in it"),
    (b"!<arch>\n", "an ar archive", "extract it and give one file in it"),
    (b"\x1f\x8b\x08", "gzip data", "decompress it once more"),
    (b"BZh", "bzip2 data", "decompress it once more"),
    (b"\xfd7zXZ\0", "xz data", "decompress it once more"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data", "decompress it with unzstd, or use .gz"),
    (b"\x04\x22\x4d\x18", "LZ4 data", "decompress it with unlz4, or use .gz"),
    (b"\x1f\x9d", "compress data (.Z)", "decompress it with uncompress, or use .gz"),
    (b"x\x9f>\x22", "an Outlook attachment (winmail.dat)", "extract it with tnef"),
    (b"!BDN", "an Outlook mailbox (.pst)", "export it as mbox"),
    (b"wOFF", "a font", ""),
    (b"wOF2", "a font", ""),
    (b"\0\1\0\0\0", "a font", ""),
    (b"OTTO\0", "a font", ""),
    (b"GGUF", "a GGUF model", _MODEL),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x8a\x8c\x95}\](c(K\x88\x89X)N]")
_ASCII_PICKLE = re.compile(rb"[]}]q\0|\([ld]p\d+\n|c(copy_reg|__builtin__|numpy[.\w]*)\n\w+\n")
_SAFETENSORS = re.compile(rb".{4}\0{4}\{\"", re.DOTALL)
_BITMAP = re.compile(rb"BM.{4}\0{4}", re.DOTALL)
_WINDOWS = re.compile(rb"MZ.{58}(.{4})", re.DOTALL)
_MPEG = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]")
_RIFF = {b"WAVE": "a WAV sound file", b"AVI ": "an AVI video", b"WEBP": "a WebP image"}
_OFFICE = (
    (b"word/", "a Word document (.docx)", _PLAIN),
    (b"xl/", "an Excel workbook (.xlsx)", "save the sheet as CSV"),
    (b"ppt/", "a PowerPoint presentation (.pptx)", _PLAIN),
    (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "a spreadsheet (.ods)", _CSV),
    (b"mimetypeapplication/vnd.oasis.opendocument", "an OpenDocument file (.odt)", _PLAIN),
    (b"mimetypeapplication/epub", "an EPUB book", _PLAIN),
    (b"META-INF/MANIFEST.MF", "a Java archive (.jar)", ""),
    (b"AndroidManifest.xml", "an Android package (.apk)", ""),
    (b".data/", "a PyTorch checkpoint", _MODEL),
    (b"/data.pkl", "a PyTorch checkpoint", _MODEL),
    (b".npy", "a NumPy archive (.npz)", _CSV),
)
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x08\x1b") + b"\x7f"
_WIDE = "UTF-16 without a byte-order mark"
HEAD_BYTES = 1 << 18
"""Bytes at the beginning of a file that name its format with certainty."""
_SAMPLE = 1 << 16
_FEWEST_CONTROLS, _CONTROL_SHARE = 8, 0.05
_FEWEST_ZEROS, _ZERO_SHARE = 64, 0.2


def binary_format(head: bytes) -> tuple[str, str] | None:
    """Return the name of the binary format of a file that begins with `head`, and what to do.

    None if it can be a text. UTF-16 without a byte-order mark counts as binary. Give 64 KiB or
    more, or the whole file.
    """
    for signature, name, remedy in _SIGNATURES:
        if head.startswith(signature) and _is_no_text(head, signature):
            return name, remedy
    special = _special(head)
    if special is not None:
        return special
    sample = head[:_SAMPLE]
    if sample.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return None  # the byte-order mark of UTF-16 or UTF-32
    if utf16_without_mark(sample) is not None:
        return _WIDE, "save the file as UTF-8"
    if sample.count(0) >= max(_FEWEST_ZEROS, _ZERO_SHARE * len(sample)):
        return "binary data of an unknown format", ""
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls >= _FEWEST_CONTROLS and controls > _CONTROL_SHARE * len(sample):
        try:
            # The sample may end inside a character.
            sample[: len(sample) - 3 * (len(head) > _SAMPLE)].decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(sample) - 3:
                return "binary data of an unknown format", ""
    return None


def refuse_binary(head: bytes, source: str, expected: str = "a text, a table or a mail") -> None:
    """Check that a file that begins with `head` can be text.

    Raises:
        DataError: it has a binary format; the message names it.
    """
    found = binary_format(head)
    if found is not None:
        name, remedy = found
        if name == _WIDE:
            raise DataError(
                f"{source}: expected {expected}, found a NUL byte beside each letter; this looks "
                f"like {name}; {remedy}"
            )
        hint = remedy or "give another file"
        raise DataError(f"{source}: expected {expected}, found {name}; {hint}")


def may_begin_binary(head: bytes) -> bool:
    """Return whether a few bytes may be the beginning of a signature or of UTF-16."""
    return b"\0" in head or any(
        len(head) < len(signature) and signature.startswith(head) for signature, *_ in _SIGNATURES
    )


def utf16_without_mark(sample: bytes) -> str | None:
    """Return "utf-16-le" or "utf-16-be" if a sample is UTF-16 of mostly ASCII letters."""
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")) or len(sample) < 8:
        return None
    for first, name in ((0, "utf-16-le"), (1, "utf-16-be")):
        letters, zeros = sample[first::2], sample[1 - first :: 2]
        text = sum(letters.count(bytes((byte,))) for byte in b" abcdefghijklmnopqrstuvwxyz")
        if zeros.count(0) >= 0.7 * len(zeros) and not letters.count(0) and 2 * text >= len(letters):
            return name
    return None


def _is_no_text(head: bytes, signature: bytes) -> bool:
    """Return whether a signature that letters alone can form begins no text, by what follows."""
    if len(signature) >= 5 or not signature.isascii() or b"\0" in signature:
        return True
    rest = head[: 1 << 10]
    return rest != rest.translate(None, _CONTROLS) or signature in (b"%!PS",)


def _special(head: bytes) -> tuple[str, str] | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        for mark, name, remedy in _OFFICE:
            if mark in head:
                return name, remedy
        return "a ZIP archive", "extract it and give one file in it"
    if _PICKLE.match(head) or _ASCII_PICKLE.match(head):
        return "a Python pickle", "pickles can run code and are not read; write CSV or Parquet"
    if _SAFETENSORS.match(head):
        return "a safetensors file", _MODEL
    if head.startswith(b"RIFF") and head[8:12] in _RIFF:
        return _RIFF[head[8:12]], ""
    if head[4:8] == b"ftyp" and head.startswith(b"\0"):
        return "an MP4 or HEIF file", ""
    if _BITMAP.match(head):
        return "a BMP image", ""
    program = _WINDOWS.match(head)
    if program and b"\0" in head[:64]:
        return "an executable (Windows)", ""
    if _MPEG.match(head) and b"\0" in head[:4096]:
        return "an MP3 sound file", ""
    if head[257:262] == b"ustar":
        return "a tar archive", "extract it and give one file in it"
    return None
