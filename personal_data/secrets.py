"""Keys, cards and passwords in texts that people bring: found, and held back before anything is stored.

Door: `hold_back`. Each kind is told by its form, and by its check digits where it has some, so that ordinary numbers
stay: order numbers, telephone numbers, dates and hashes are not secrets. Every pattern takes time linear in the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

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
_SAID = r"password|passwd|passphrase|passcode|pass\s?phrase|pwd|pin|secret|api[ _-]?key|access[ _-]?token"
_SAID_ELSEWHERE = r"passwort|kennwort|geheimzahl|mot\s+de\s+passe|contraseña|clave|wachtwoord|senha"
_KEY_BLOCK = re.compile(
    r"-----BEGIN ([A-Z ]*)PRIVATE KEY(?: BLOCK)?-----[^-]*(?:-----END \1PRIVATE KEY(?: BLOCK)?-----)?"
)
_TOKEN = re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(_TOKENS)})")
_URL = re.compile(r"(?<=://)[^\s/:@]{1,100}:[^\s/@]{1,100}(?=@)")
_PASSWORD = re.compile(
    rf"(?i)(\b(?:{_SAID}|{_SAID_ELSEWHERE})\b(?:\s+(?:is|was|ist|war|lautet|est|es|era|é|für|for)\b[^\S\n]*|\s*[:=]\s*))"
    r"([\"'“”„«]?)([^\s\"'“”„«»]{4,100})"
)
_DIGITS = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_ISSUERS = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|6(?:011|4[4-9]|5)|35(?:2[89]|[3-8])|3(?:0[0-5]|[689])|62"
)
"""How the numbers of Visa, Mastercard, American Express, Discover, JCB, Diners and UnionPay begin."""
_CARD_LENGTHS = (13, 14, 15, 16, 19)


def hold_back(text: str) -> tuple[str, Counter[str]]:
    """The text with a mark in the place of each secret, and how many of each kind were held back."""
    found: Counter[str] = Counter()

    def marking(kind: str, check: Callable[[re.Match[str]], bool] = lambda _: True) -> Callable[[re.Match[str]], str]:
        def mark(match: re.Match[str]) -> str:
            if not check(match):
                return match[0]
            found[kind] += 1
            return f"[{kind} held back]"

        return mark

    text = _KEY_BLOCK.sub(marking("private key"), text)
    text = _TOKEN.sub(marking("access key"), text)
    text = _URL.sub(marking("password"), text)
    text = _IBAN.sub(marking("account number", _is_iban), text)
    text = _DIGITS.sub(marking("card number", _is_card), text)
    return _PASSWORD.sub(lambda match: _password(match, found), text), found


def _password(match: re.Match[str], found: Counter[str]) -> str:
    """What follows "password:" is one if it looks like one: words of a sentence do not."""
    value = match[3].rstrip(".,;:!?)")
    if value.startswith("[") or not _looks_secret(value):
        return match[0]
    found["password"] += 1
    return f"{match[1]}{match[2]}[password held back]{match[3][len(value) :]}"


def _looks_secret(value: str) -> bool:
    """A number, or characters of two kinds, as no word of a sentence has."""
    kinds = (str.isdigit, str.islower, str.isupper, lambda one: not one.isalnum())
    mixed = sum(any(map(kind, value)) for kind in kinds) >= 2
    return len(value) >= 4 and (value.isdigit() or (mixed and not value.isalpha()))


def _is_card(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[0])
    return len(digits) in _CARD_LENGTHS and bool(_ISSUERS.match(digits)) and _luhn(digits) and len(set(digits)) > 1


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _is_iban(match: re.Match[str]) -> bool:
    """ISO 13616: the number, its first four characters last, letters as 10 to 35, is 1 modulo 97."""
    plain = match[0].replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1
