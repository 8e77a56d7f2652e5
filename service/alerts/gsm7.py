"""Text in the GSM 7-bit default alphabet (3GPP TS 23.038), so that a short message fits into one SMS of 160 characters.

One character outside of the alphabet turns an SMS into UCS-2, which has room for 70. The packages for this on PyPI had
no release for years, and the alphabet does not change.
"""

import unicodedata
from collections.abc import Sequence

SMS_LENGTH = 160
"""Characters of one SMS in this alphabet. The alphabet's extension characters are not used: each counts twice."""

LEAST_FIRST = 60
"""Characters that the first line keeps if it is cut for the second one."""

ALPHABET = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)

_REPLACEMENTS = str.maketrans(
    {
        **dict.fromkeys("’‘`´", "'"),
        **dict.fromkeys("“”«»„", '"'),
        **dict.fromkeys("–—‑−", "-"),
        **dict.fromkeys("\xa0\u202f\u2009\t", " "),
        "…": "...",
        "œ": "oe",
        "Œ": "OE",
        "€": "EUR",
        "≥": ">=",
        "≤": "<=",
        "[": "(",
        "]": ")",
        "{": "(",
        "}": ")",
        "~": "-",
        "|": "/",
        "\\": "/",
        "^": "",
    }
)


def to_gsm7(text: str) -> str:
    """Return a text in the alphabet: a letter with an accent that it lacks loses the accent, other signs become `?`."""
    return "".join(map(_character, unicodedata.normalize("NFC", text).translate(_REPLACEMENTS)))


def is_gsm7(text: str) -> bool:
    """Return whether a text needs no character outside of the alphabet."""
    return ALPHABET.issuperset(text)


def fitting(lines: Sequence[str]) -> str:
    """Return the lines that fit into one SMS, in their order. The first one is cut if it is too long.

    It is cut a little for the second one too: the first line ends with the title of a rule, and the second says how
    likely the event is.
    """
    text = shortened(lines[0], SMS_LENGTH)
    room = SMS_LENGTH - 1 - len(lines[1]) if len(lines) > 1 else 0
    if room >= max(LEAST_FIRST, text.find(":")):
        text = shortened(text, room)
    for line in lines[1:]:
        if len(text) + 1 + len(line) <= SMS_LENGTH:
            text += f"\n{line}"
    return text


def shortened(text: str, length: int) -> str:
    """Return a text of at most `length` characters: it ends at a word, with three dots, if it is cut."""
    if len(text) <= length:
        return text
    cut = text[: length - 3]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut).rstrip(" ,;:-(\"'") + "..."


def _character(character: str) -> str:
    if character in ALPHABET:
        return character
    plain = unicodedata.normalize("NFKD", character)[0]
    return plain if plain in ALPHABET else "?"
