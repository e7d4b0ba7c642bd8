"""Tell the encoding of bytes that are not UTF-8: of a CSV, or of the names in a zip."""

import codecs
import re
import unicodedata

from shared.errors import DatasetRefused, Fault

KOREAN, JAPANESE, WESTERN, DOS = "cp949", "cp932", "cp1252", "cp437"
ENCODINGS = "`cp949` (Korean), `cp932` (Japanese), `gb18030` (Chinese), `cp1252` (Western European)"
"""The encodings that a message proposes."""
COMMON_SYLLABLES = frozenset(
    "가각간갈감갑강개거건검게겨격견결경계고곡곤골곰공과관광교구국군권귀규그극근금급기길김까께꼬끼나난날남내냥너년노논농높눈는능니님"
    "다단달담당대더덕던데도독동되된두드득든들등따때또라락란람랑래량러럼런레려력련령로록론료루류륙르른를름리린립마막만말망매머먼멀"
    "메면명모목몸무문물미민바박반발방배백버번벌법베변별병보복본봄부북분불비빛빵사산살삼상새색생서석선설성세소속손송쇼수순술스슴습승"
    "시식신실심십싸쓰아안알압앞애야약양어언얼엄업없에여역연열영예오온올옥와완왕외요용우운울원월위유육윤으은을음의이인일임입있자작잔"
    "장재저적전점정제조족종좌주준중쥐증지직진질집차착찬참창채책처천철청체초총최추축출충치칠카컵코쿠크키타탁탄태터테텔토통투특티파판"
    "팔페펭평포표풍프피하학한할함합항해햄행향허험헤혁현형혜호혼홍화환활황회후훈휘흐희히힘"
)
"""Syllables of everyday Korean. Chinese text that is decoded as Korean has few of them."""
MIN_COMMON_SYLLABLES = 0.4
_JAPANESE = "\u3040-\u30ff\u4e00-\u9fff"
_JAPANESE_CHARACTERS = re.compile(rf"[{_JAPANESE}]")
_HALF_WIDTH = re.compile(r"[\uff61-\uff9f]")
"""Half-width katakana, as which accented letters and Japanese in other encodings appear."""
_LETTER_BESIDE_JAPANESE = re.compile(rf"[A-Za-z](?=[{_JAPANESE}])|(?<=[{_JAPANESE}])[A-Za-z]")
_DOS_LETTERS = frozenset({*range(0x80, 0x9B), *range(0xA0, 0xA6), 0xE1})
_WESTERN_LETTERS = frozenset({0x8A, 0x8C, 0x8E, 0x9A, 0x9C, 0x9E, 0x9F, *range(0xC0, 0x100)} - {0xD7, 0xF7})
_WESTERN_SIGNS = frozenset(b"\x80\x85\x91\x92\x93\x94\x96\x97\xa0\xa3\xa7\xab\xb0\xb2\xb3\xb5\xbb\xbd")
"""The euro sign, typographic quotes and dashes, a space that does not break, degrees, powers, µ and ½."""


def check_encoding(name: str | None) -> str | None:
    """Return the name of an encoding as Python knows it. Raises DatasetRefused for one that it does not know."""
    if name is None:
        return None
    try:
        found = codecs.lookup(name)
        if found._is_text_encoding:  # noqa: SLF001 - as `str.encode` asks it
            return found.name
    except (LookupError, ValueError):
        pass
    fault = Fault("#/encoding", f"{name[:40]!r} is no encoding of text. Use `utf-8`, {ENCODINGS} or another.")
    raise DatasetRefused("The encoding is not known.", (fault,))


def guess_encoding(data: bytes, *, is_names: bool = False) -> str | None:
    """Return the encoding of text that is not UTF-8; None if it cannot be told.

    Korean is told by its common syllables, Japanese by its characters that have no Latin letter beside them, and
    everything else is Western European if its bytes are letters. `is_names`: names in a zip, perhaps written by DOS.
    """
    if _is_korean(data):
        return KOREAN
    if _is_japanese(data):
        return JAPANESE
    high = [byte for byte in data if byte >= 0x80]  # noqa: PLR2004 - ASCII
    if is_names and all(byte in _DOS_LETTERS for byte in high):
        return DOS
    is_western = all(byte in _WESTERN_LETTERS or byte in _WESTERN_SIGNS for byte in high)
    return WESTERN if is_western and not _has_long_runs(data) else None


def to_text(name: str) -> str:
    """Return a name as one sequence of characters: macOS writes 가 as two."""
    return unicodedata.normalize("NFC", name)


def _is_korean(data: bytes) -> bool:
    """Return whether the bytes are CP949, and many of the characters are syllables of everyday Korean."""
    try:
        text = data.decode(KOREAN)
    except UnicodeDecodeError:
        return False
    characters = [character for character in text if ord(character) >= 0x80]  # noqa: PLR2004 - ASCII
    common = sum(character in COMMON_SYLLABLES for character in characters)
    return common >= MIN_COMMON_SYLLABLES * len(characters)


def _is_japanese(data: bytes) -> bool:
    try:
        text = data.decode(JAPANESE)
    except UnicodeDecodeError:
        return False
    characters = len(_JAPANESE_CHARACTERS.findall(text))
    beside = len(_LETTER_BESIDE_JAPANESE.findall(text))
    return characters > 0 and beside <= characters / 10 and len(_HALF_WIDTH.findall(text)) <= characters


def _has_long_runs(data: bytes) -> bool:
    """Return whether most bytes outside of ASCII follow one another, as in Cyrillic, Greek or Chinese text."""
    runs = re.findall(rb"[\x80-\xff]+", data)
    return sum(len(run) for run in runs) > 2 * len(runs)
