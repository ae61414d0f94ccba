"""What WhatsApp itself writes into an exported chat, in place of media and of deleted messages, in many languages.

Doors: `spoken`, a message without such parts, and `notice`, why nothing else is in it. On iOS a line that the app wrote
begins with a mark of direction, in every language; the words are for Android, and for files that lost the mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARKS = "\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
"""Marks of direction; they are not seen."""
_APP = "\u200e"
_ATTACHED = re.compile(
    r"\S[^\n]*\.\w{2,5} \((?:file attached|Datei angehängt|archivo adjunto|fichier joint|file allegato"
    r"|arquivo anexado|ficheiro anexado|bestand bijgevoegd)\)"
)
_INLINE = re.compile(
    f"{_APP}?"
    r"<(?:attached|Anhang|adjunto|pi[eè]ce jointe|allegato|anexado|anexo|bijgevoegd|bijlage)\s?: ?[^<>\n]+>"
)
_EDITED = re.compile(
    rf"{_APP}?<[^<>\n]{{0,40}}\b(?:edited|bearbeitet|editó|editad[oa]|modifié|modificato|bewerkt)\b[^<>\n]{{0,20}}>\Z"
)
_OMITTED = (
    "omitted|weggelassen|ausgeschlossen|ausgelassen|omitid[oa]s?|omis|omise|omises|absente?|manquante?|retiré|omess[oaie]"
    "|esclus[oa]|inclus[oa]|ocultad[oa]|oculta|revelado|weggelaten"
)
_MEDIA = re.compile(
    rf"<[^<>\n]{{1,40}}\b(?:{_OMITTED})>"
    r"|(?:image|video|video note|audio|gif|sticker|document|contact card"
    r"|bild|videonachricht|dokument|kontaktkarte"
    r"|imagen|documento|tarjeta de contacto"
    r"|vidéo|fiche de contact|fiche contact|carte de contact"
    r"|immagine|scheda contatto"
    r"|imagem|vídeo|áudio|figurinha|cartão do contato|cartão de contacto"
    rf"|afbeelding|videobericht|contactkaart)(?: non| não)? (?:{_OMITTED})",
    re.IGNORECASE,
)
_DELETED = re.compile(
    r"(?:this message was deleted(?: by admin [^\n]{1,100})?|you deleted this message(?: as admin)?"
    r"|diese nachricht wurde gelöscht|du hast diese nachricht gelöscht"
    r"|se eliminó este mensaje|este mensaje fue eliminado|eliminaste este mensaje"
    r"|ce message a été supprimé|vous avez supprimé ce message"
    r"|questo messaggio è stato eliminato|hai eliminato questo messaggio"
    r"|(?:esta )?mensagem (?:foi )?apagada|você apagou (?:esta )?mensagem|apagou esta mensagem"
    r"|esta mensagem foi eliminada|eliminou esta mensagem"
    r"|dit bericht (?:is|werd) verwijderd|(?:je hebt|u hebt|u heeft) dit bericht verwijderd)\.?",
    re.IGNORECASE,
)
_CALL = re.compile(
    r"(?:missed (?:group )?(?:voice|video) call|verpasster (?:sprach|video)anruf|(?:video)?llamada(?: de voz)? perdida"
    r"|appel (?:vocal|vidéo) manqué|(?:video)?chiamata(?: vocale)? persa|chamada de (?:voz|vídeo) perdida"
    r"|gemiste (?:spraak|video)oproep)\.?",
    re.IGNORECASE,
)


def spoken(lines: Sequence[str]) -> str:
    """What somebody wrote of a message: its captions, without the lines of the app and its marks."""
    text = "\n".join(line for line in lines if not _is_app(line))
    text = _INLINE.sub("", _EDITED.sub("", text.rstrip()))
    return text.replace(_APP, "").strip()


def _is_app(line: str) -> bool:
    return line.startswith(_APP) or _ATTACHED.fullmatch(line.strip()) is not None


def notice(text: str) -> str | None:
    """Why a message is not something that somebody wrote, if it is not."""
    if not text:
        return "no words in it (media, a poll, or a notice of the app)"
    if _MEDIA.fullmatch(text) or text == "null":  # what Android writes for media to be seen once
        return "media that the export left out"
    if _DELETED.fullmatch(text):
        return "a deleted message"
    return "a missed call" if _CALL.fullmatch(text) else None
