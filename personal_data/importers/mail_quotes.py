"""What the sender of a mail wrote themselves: without quoted mails and without the signature.

Door: `own_words`. Mail programs say in the language of their owner that a quoted mail follows; seven are known.
"""

from __future__ import annotations

import re

_WROTE = re.compile(
    r"(?:On\b.*\bwrote|Am\b.*\bschrieb\b.*|Le\b.*\ba écrit|El\b.*\bescribió|Il\b.*\bha scritto|Op\b.*\bschreef\b.*"
    r"|Em\b.*\bescreveu|\d{4}-\d\d-\d\d\b.*<[^<>]*@[^<>]*>)\s?:",
    re.DOTALL,
)
_WROTE_STARTS = re.compile(r"(?:On|Am|Le|El|Il|Op|Em|\d{4}-\d\d-\d\d)\b")
_WROTE_LINES, _WROTE_CHARS = 3, 400
"""Such a line is often broken into several."""
_ORIGINAL = re.compile(
    r"[-_]{2,}\s*(?:original message|forwarded message|urspr(?:ü|ue)ngliche nachricht|originalnachricht"
    r"|weitergeleitete nachricht|message d['’]origine|message original|message transféré|mensaje original"
    r"|mensaje reenviado|messaggio originale|messaggio inoltrato|oorspronkelijk bericht|doorgestuurd bericht"
    r"|mensagem original|mensagem encaminhada)\s*[-_]{2,}"
    r"|(?:begin forwarded message|anfang der weitergeleiteten nachricht|début du message réexpédié|inicio del mensaje"
    r" reenviado|inizio messaggio inoltrato|begin doorgestuurd bericht|início da mensagem encaminhada)\s?:",
    re.IGNORECASE,
)
_FROM = re.compile(r"\*?(?:From|Von|De|Da|Van)\s?:\*?\s*\S")
_SENT = re.compile(
    r"\*?(?:Sent|Date|Gesendet|Datum|Envoyé|Enviado(?: el| em)?|Fecha|Inviato|Data|Verzonden)\s?:\*?\s*\S"
)
_SENT_WITHIN = 3
"""Lines between who wrote a quoted mail and when."""
_SIGNATURE = re.compile(r"--\s*")


def own_words(text: str) -> str:
    """The text without what it quotes and without its signature."""
    lines = [line.replace("\xa0", " ").rstrip() for line in text.splitlines()]
    kept: list[str] = []
    place = 0
    while place < len(lines):
        line = lines[place].strip()
        if _SIGNATURE.fullmatch(lines[place]) or _ORIGINAL.fullmatch(line) or _is_header(lines, place):
            break
        if taken := _attribution(lines, place):
            place += taken
            if not _quote_follows(lines, place):
                break
        else:
            if not line.startswith(">"):
                kept.append(lines[place])
            place += 1
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _attribution(lines: list[str], place: int) -> int:
    """How many lines from here on say who wrote what is quoted below; 0 where none do."""
    if not _WROTE_STARTS.match(lines[place].strip()):
        return 0
    for count in range(1, _WROTE_LINES + 1):
        said = " ".join(line.strip() for line in lines[place : place + count])
        if len(said) > _WROTE_CHARS:
            return 0
        # It names a day; a sentence that ends in "he wrote:" seldom does.
        if said.endswith(":") and _WROTE.fullmatch(said) and re.search(r"\d", said):
            return count
    return 0


def _quote_follows(lines: list[str], place: int) -> bool:
    """Whether a quote that is marked as such comes next; what follows it may be an answer. Otherwise the rest is it."""
    following = next((line.strip() for line in lines[place:] if line.strip()), "")
    return following.startswith(">")


def _is_header(lines: list[str], place: int) -> bool:
    """Whether the head of a quoted mail begins here, as Outlook writes it: who, and soon after when."""
    if not _FROM.match(lines[place].strip()):
        return False
    return any(_SENT.match(line.strip()) for line in lines[place + 1 : place + 1 + _SENT_WITHIN])
