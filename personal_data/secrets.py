"""Keys, cards and passwords in texts that people bring: found, and held back before anything is stored.

Door: `hold_back`. Each kind is told by its form, and by its check digits where it has some, so that ordinary numbers
stay: order numbers, telephone numbers, dates and hashes are not secrets. Every pattern takes time linear in the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

_TOKENS = (
    r"sk-(?:proj-|ant-|svcacct-|or-)?[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic and those that follow them
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{40,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"hf_[A-Za-z0-9]{30,}",
    r"npm_[A-Za-z0-9]{36}",
    r"[sr]k_live_[A-Za-z0-9]{20,}",
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    r"fm_[0-9a-f]{12}_[0-9a-f]{40,}",  # our own
    r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",  # JSON web tokens
)
_SAID = (
    r"password|passwd|passphrase|passcode|pass\s?phrase|pwd|pin(?:[ -]?code)?|secret(?:[ _-]?access)?(?:[ _-]?key)?"
    r"|(?:api|access)[ _-]?key|access[ _-]?token"
)
_SAID_ELSEWHERE = r"passwort|kennwort|geheimzahl|mot\s+de\s+passe|contraseña|clave|wachtwoord|senha"
_FOR = r"(?:[^\S\n]{1,5}(?:for|für|of|pour|para|de|del|zu|zum|vom)(?:[^\S\n]{1,5}[^\s:=]{1,40}){1,3}?)?"
_MEANS = r"[^\S\n]+(?:is|was|ist|war|lautet|est|es|era|é)\b[^\S\n]*:?\s*|[\"']?\s*[:=]\s*"
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_BLOCK = re.compile(
    r"-----BEGIN ([A-Z ]*)PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]*+(?:-(?!----)[^-]*+)*+-----END \1PRIVATE KEY(?: BLOCK)?-----|(?:\s*(?:Proc-Type|DEK-Info)[^\n]*)*[^-]*)"
)
"""To its end, or as far as a key may go that is cut off; the headers of a locked one have dashes in them."""
_KEY_LINE = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")
_KEY_LAST = re.compile(r"=?[A-Za-z0-9+/]+={0,2}")
_TOKEN = re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(_TOKENS)})")
_URL = re.compile(r"(?<=://)[^\s/:@]{0,100}:[^\s/@]{1,100}(?=@)")
_PASSWORD = re.compile(
    rf"(?i)(?<![A-Za-z])(?:{_SAID}|{_SAID_ELSEWHERE})\b{_FOR}(?:{_MEANS})[\"'“”„«]?(?P<value>[^\s\"'“”„«»]{{4,}})"
)
_NUMBERS = re.compile(r"[0-9]+(?:[ -][0-9]+)*")
_IBAN_HEAD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ A-Za-z0-9])")
_IBAN_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS = {country: length for length, those in _IBAN_COUNTRIES.items() for country in those.split()}
"""How long an account number is in each country (the register of ISO 13616): it says where it ends among words."""
_ISSUERS = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|6(?:011|4[4-9]|5)|35(?:2[89]|[3-8])|3(?:0[0-5]|[689])|62"
)
"""How the numbers of Visa, Mastercard, American Express, Discover, JCB, Diners and UnionPay begin."""
_CARD_LENGTHS = (13, 14, 15, 16, 19)
_CARD_GROUPS = ((4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), (6, 13))
"""How cards are printed; other numbers may stand right before and after one (when it ends, its check code)."""
_MARK = re.compile(r"\[(?:private key|access key|password|account number|card number) held back\]")
Span = tuple[int, int]


def hold_back(text: str) -> tuple[str, Counter[str]]:
    """The text with a mark in the place of each secret, and how many of each kind were held back."""
    found: Counter[str] = Counter()
    for kind, finder in _FINDERS:
        kept, at = [], 0
        for start, end in finder(text):
            kept += [text[at:start], f"[{kind} held back]"]
            at = end
            found[kind] += 1
        text = "".join((*kept, text[at:])) if kept else text
    return text, found


def _by(pattern: re.Pattern[str]) -> Callable[[str], Iterator[Span]]:
    return lambda text: (match.span() for match in pattern.finditer(text))


def _key_rests(text: str) -> Iterator[Span]:
    """The end of a key whose beginning stands in another piece of the text."""
    at = 0
    for match in _KEY_ENDS.finditer(text):
        start, line = match.start(), _KEY_LAST
        for word in reversed(list(re.finditer(r"\S+", text[at:start]))):
            if not line.fullmatch(word[0]):
                break
            start, line = at + word.start(), _KEY_LINE
        yield start, match.end()
        at = match.end()


def _passwords(text: str) -> Iterator[Span]:
    """What follows "password:" is one if it looks like one: words of a sentence do not."""
    at = 0
    while match := _PASSWORD.search(text, at):
        start = at = match.start("value")
        value = match["value"].rstrip(".,;:!?)")
        if not _MARK.match(text, start) and _looks_secret(value.strip("[](){}<>")):
            at = start + len(value)
            yield start, at


def _looks_secret(value: str) -> bool:
    """A number, or characters of two kinds, as no word of a sentence has."""
    kinds = (str.isdigit, str.islower, str.isupper, lambda one: not one.isalnum())
    mixed = sum(any(map(kind, value)) for kind in kinds) >= 2
    return len(value) >= 4 and (value.isdigit() or (mixed and not value.isalpha()))


def _cards(text: str) -> Iterator[Span]:
    for run in _NUMBERS.finditer(text):
        groups = [(run.start() + match.start(), run.start() + match.end()) for match in re.finditer(r"\d+", run[0])]
        first = int(_joins(text[run.start() - 1 : run.start()], "_.+-"))
        last = len(groups) - int(_joins(text[run.end() : run.end() + 1], "_-"))
        whole = first == 0 and last == len(groups)
        while first < last:
            near = groups[first : min(last, first + max(_CARD_LENGTHS))]
            taken = _card_from(text, near, whole=whole and len(near) == len(groups))
            if taken:
                yield groups[first][0], groups[first + taken - 1][1]
            first += taken or 1


def _joins(beside: str, signs: str) -> bool:
    """Whether a number is part of a longer word."""
    return bool(beside) and (beside.isalnum() or beside in signs)


def _card_from(text: str, groups: Sequence[Span], *, whole: bool) -> int:
    """How many of these groups of digits are a card; all of them in whatever way they are parted, or as cards are."""
    sizes = tuple(end - start for start, end in groups)
    counts: list[int] = [len(groups), *range(min(len(groups), 5), 0, -1)]
    for taken in counts:
        signs = {text[end] for _, end in groups[: taken - 1]}
        printed = taken == 1 or (sizes[:taken] in _CARD_GROUPS and len(signs) == 1)
        possible = printed or (whole and taken == len(groups))
        if possible and _is_card("".join(text[start:end] for start, end in groups[:taken])):
            return taken
    return 0


def _is_card(digits: str) -> bool:
    return len(digits) in _CARD_LENGTHS and bool(_ISSUERS.match(digits)) and _luhn(digits) and len(set(digits)) > 1


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _ibans(text: str) -> Iterator[Span]:
    at = 0
    for head in _IBAN_HEAD.finditer(text):
        length = _IBAN_LENGTHS.get(head[0][:2].upper(), 0)
        for size in (length, length + (length - 1) // 4):  # in one, or in groups of four
            end = head.start() + size
            if head.start() >= at and _is_iban(text[head.start() : end], length) and not text[end : end + 1].isalnum():
                yield head.start(), end
                at = end
                break


def _is_iban(written: str, length: int) -> bool:
    """ISO 13616: the number, its first four characters last, letters as 10 to 35, is 1 modulo 97."""
    plain = written.replace(" ", "")
    grouped = " ".join(plain[start : start + 4] for start in range(0, len(plain), 4))
    if len(plain) != length or written not in (plain, grouped) or not (plain.isascii() and plain.isalnum()):
        return False
    return length > 0 and int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1


_FINDERS: tuple[tuple[str, Callable[[str], Iterator[Span]]], ...] = (
    ("private key", _by(_KEY_BLOCK)),
    ("private key", _key_rests),
    ("access key", _by(_TOKEN)),
    ("password", _by(_URL)),
    ("account number", _ibans),
    ("card number", _cards),
    ("password", _passwords),
)
"""In this order: what is a key is none of the numbers in it."""
