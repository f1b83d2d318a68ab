"""Files of text that people bring, in whatever encoding their tools write."""

from __future__ import annotations

import codecs

from proxyclip_core.file_kinds import HEAD, name_of

# Marks of byte order and what they say; the longer ones first, as some begin like others.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
NOT_UTF_8 = "it is not in UTF-8, so it was read by Windows' Western code page. If letters are wrong, save it as UTF-8."


def decoded(content: bytes) -> tuple[str, bool]:
    """The text, and whether its encoding was told by the content; else it is that of Windows in the West.

    Raises ValueError for what is no text.
    """
    encoding = next((encoding for mark, encoding in MARKS if content.startswith(mark)), None)
    if encoding is None and b"\0" in content[:2]:  # UTF-16 without a mark, where it begins with a Latin letter
        encoding = "utf-16-be" if content[0] == 0 else "utf-16-le"
    try:
        text, is_told = content.decode(encoding or "utf-8"), True
    except UnicodeDecodeError:
        text, is_told = content.decode("cp1252", errors="ignore"), False
    kind = name_of(content[:HEAD])
    if "\0" in text or (encoding and not is_told):
        raise ValueError(f"the file is {kind[0]}, no text." if kind and kind[0] != "a text" else "the file is no text.")
    if kind and kind[0] in ("a web page", "the pointer of Git LFS in place of the picture"):
        raise ValueError(f"the file is {kind[0].replace('picture', 'text')}. Fetch it again.")
    return text.lstrip("\ufeff"), is_told
