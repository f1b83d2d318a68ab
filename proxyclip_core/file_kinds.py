"""What a file is by its first bytes, for files that are no picture which can be read here."""

from __future__ import annotations

HEAD = 4096  # bytes that are looked at

_AS_PICTURE = "Save or export it as JPEG or PNG first."
_FIRST_FRAME = "Save one of its frames as a picture first."
_UNPACK = "Unpack it and give the picture inside."
_AGAIN = "Fetch the picture itself again."
_DEVELOP = "Export it as JPEG, or as TIFF, from a raw converter or the camera's own software first."
_LEVELS = "Export its picture as PNG or TIFF first."

# (first byte's place, bytes, what it is, what to do)
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"%PDF", "a PDF document", "Export the page as PNG or JPEG first."),
    (0, b"%!PS", "a PostScript file", _AS_PICTURE),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript (EPS) file", _AS_PICTURE),
    (0, b"8BPS", "a Photoshop file", _AS_PICTURE),
    (0, b"gimp xcf", "a GIMP file", _AS_PICTURE),
    (0, b"\xff\x0a", "a JPEG XL picture", _AS_PICTURE),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", _AS_PICTURE),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _AS_PICTURE),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _AS_PICTURE),
    (0, b"\0\0\x01\0", "an icon file", _AS_PICTURE),
    (0, b"icns", "an icon file", _AS_PICTURE),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile", _AS_PICTURE),
    (40, b" EMF", "a Windows metafile", _AS_PICTURE),
    (0, b"\x0a\x05\x01", "a PCX picture", _AS_PICTURE),
    (0, b"AT&TFORM", "a DjVu document", "Export the page as PNG or JPEG first."),
    (0, b"\x01\xda", "an SGI picture", _AS_PICTURE),
    (0, b"BPG\xfb", "a BPG picture", _AS_PICTURE),
    (0, b"\0\x05\x16\x07", "what macOS keeps beside a file", "Give the file whose name does not begin with '._'."),
    (0, b"DDS ", "a DDS texture", _AS_PICTURE),
    (0, b"qoif", "a QOI picture", _AS_PICTURE),
    (0, b"v/1\x01", "an OpenEXR picture", _AS_PICTURE),
    (0, b"#?R", "a Radiance HDR picture", _AS_PICTURE),
    (8, b"CR\x02", "a Canon raw picture", _DEVELOP),
    (0, b"FUJIFILMCCD-RAW", "a Fujifilm raw picture", _DEVELOP),
    (0, b"IIRO", "an Olympus raw picture", _DEVELOP),
    (0, b"IIRS", "an Olympus raw picture", _DEVELOP),
    (0, b"IIU\0", "a Panasonic raw picture", _DEVELOP),
    (0, b"FOVb", "a Sigma raw picture", _DEVELOP),
    (0, b"\0MRM", "a Minolta raw picture", _DEVELOP),
    (128, b"DICM", "a DICOM file", _LEVELS),
    (0, b"SIMPLE  =", "a FITS file", _LEVELS),
    (0, b"\x89HDF", "an HDF5 file", _LEVELS),
    (0, b"ZISRAWFILE", "a Zeiss CZI file", _LEVELS),
    (0, b"\xda\xce\xbe\x0a", "a Nikon ND2 file", _LEVELS),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office file, or a microscope's (OIB, ZVI)", _LEVELS),
    (0, b"NRRD", "an NRRD file", _LEVELS),
    (344, b"n+1\0", "a NIfTI file", _LEVELS),
    (0, b"MATLAB 5.0", "a MATLAB file", _LEVELS),
    (0, b"\x93NUMPY", "a NumPy array", "In Python give numpy.load(...); else save it as PNG first."),
    (0, b"PK\x03\x04", "a zip archive, or an Office file", _UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)", _FIRST_FRAME),
    (8, b"AVI ", "a video (AVI)", _FIRST_FRAME),
    (0, b"FLV", "a video (Flash)", _FIRST_FRAME),
    (0, b"\0\0\x01\xba", "a video (MPEG)", _FIRST_FRAME),
    (0, b"\0\0\x01\xb3", "a video (MPEG)", _FIRST_FRAME),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video (Windows Media)", _FIRST_FRAME),
    (0, b"OggS", "an Ogg sound or video", _FIRST_FRAME),
    (4, b"moov", "a video (QuickTime)", _FIRST_FRAME),
    (4, b"mdat", "a video (QuickTime)", _FIRST_FRAME),
    (8, b"WAVE", "a sound", ""),
    (0, b"ID3", "a sound", ""),
    (0, b"fLaC", "a sound", ""),
    (0, b"version https://git-lfs", "the pointer of Git LFS in place of the picture", "Run 'git lfs pull'."),
    (0, b"data:image/", "a picture as text (a data URL)", "Decode its base64 part first."),
    (0, b"\x7fELF", "a program", ""),
    (0, b"MZ", "a program", ""),
)
# Of ISO media files ("ftyp"): the brands by which kinds are told apart.
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}
_AVIF = {b"avif", b"avis"}
_PICTURES = (
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG"),
    (0, b"GIF8"),
    (0, b"BM"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"II+\0"),
    (0, b"MM\0+"),
    (8, b"WEBP"),
    *((0, b"P%d" % number + blank) for number in range(1, 8) for blank in (b" ", b"\n", b"\r", b"\t")),
)


def is_heif(head: bytes) -> bool:
    """Whether the first bytes are those of a HEIC or HEIF picture; AVIF pictures, which Pillow reads, are none."""
    brands = _brands(head)
    return bool(brands) and not _AVIF & set(brands) and (brands[0] in _HEIF or bool(_HEIF & set(brands[1:])))


def name_of(head: bytes) -> tuple[str, str] | None:
    """What the file is and what to do with it, such as ("a PDF document", "Export ..."); None where it is not known.

    head: the first HEAD bytes of the file, all of a shorter one.
    """
    if not head:
        return "empty, a file of 0 bytes", _AGAIN
    if not head.strip(b"\0"):
        return "nothing but zeros", _AGAIN
    if is_heif(head):
        return "a HEIC picture", "Export it as JPEG, or run: pip install 'proxyclip[heic]'"
    if _brands(head):
        return _iso_media(_brands(head))
    for place, signature, name, advice in _SIGNATURES:
        if head[place:].startswith(signature):
            return name, advice
    if any(head[place:].startswith(signature) for place, signature in _PICTURES):
        return None
    return _text(head)


def _brands(head: bytes) -> list[bytes]:
    """The brands in the first box of an ISO media file, the major one first; none for any other file."""
    if head[4:8] != b"ftyp":
        return []
    size = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]


def _iso_media(brands: list[bytes]) -> tuple[str, str] | None:
    if brands[0] == b"crx ":
        return "a Canon raw picture", _DEVELOP
    if brands[0].startswith((b"M4A", b"M4B")):
        return "a sound", ""
    if _AVIF & set(brands):
        return "an AVIF picture", _AS_PICTURE
    return "a video (MP4 or QuickTime)", _FIRST_FRAME


def _text(head: bytes) -> tuple[str, str] | None:
    """Kinds of text: they begin with blanks and byte order marks of many sorts."""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    # The last character may be cut through.
    text = head.decode(encoding, errors="replace").rstrip("\ufffd").lstrip().casefold()
    if "\ufffd" in text or "\0" in text:
        return None
    if "<svg" in text and text.startswith("<"):
        return "an SVG drawing", "Export it as PNG first."
    if text.startswith(("<!doctype html", "<html", "<head", "<body", "<!--")) or "<html" in text:
        return "a web page", "The address may ask for a login, or the picture is no longer there. " + _AGAIN
    return "a text", _AGAIN
