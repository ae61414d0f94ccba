"""What people keep to themselves: kinds of texts that no scope shows to others unless their owner grants them by name.

Door: `kinds_of`. Words and forms decide, never a model: the same text is always of the same kinds. It errs to the
private side: a text about a film in which somebody goes to court is about law here. The words are how words begin, in
English, German, French and Spanish, each list in one place.
"""

from __future__ import annotations

import re

HEALTH, MONEY, LAW, SEXUALITY, LOCATION, OTHERS = "health", "money", "law", "sexuality", "location", "other people"
KINDS = (HEALTH, MONEY, LAW, SEXUALITY, LOCATION, OTHERS)

_WORDS = {
    HEALTH: """
        diagnos allerg asthma cancer tumou?r chemo surger surgeon hospital clinic doctor gp physician
        psychiatr psycholog therap depress anxi antidepress medication medicine pill prescri insulin diabet
        blood.pressure heart.attack stroke epilep hiv aids hepatitis std sti pregnan miscarr abortion
        infertil ivf menopaus adhd autis bipolar schizo ptsd disorder eating.disorder anorex bulimi overdos
        rehab alcoholi sober suicid self.harm vaccin infect symptom migraine biops mri x.ray dementia
        alzheimer parkinson disab wheelchair krank arzt ärztin diagnose allergi krebs depressi schwanger
        fehlgeburt abtreibung medikament tablette klinik spital sucht operation.am therapie blutdruck malad
        médecin hôpital grossesse enceinte dépressi cancer médicament ordonnance enferm médic hospital
        embaraz depresi cáncer pastilla receta
    """,
    MONEY: """
        salar wage debt loan mortgage overdraft bankrupt insolven credit.score bank.account account.number
        iban pension inherit savings invest portfolio stocks? shares dividend crypto bitcoin tax.return
        i.earn earns? income payslip afford rent.arrears bailiff gehalt lohn schulden kredit hypothek konto
        pleite erbe erbschaft ersparnis steuererklärung verdien rente salaire dette prêt hypothèque
        compte.bancaire héritage épargne impôts? gagne sueldo salario deuda préstamo hipoteca
        cuenta.bancaria herencia ahorros impuestos gano
    """,
    LAW: """
        lawyer solicitor attorney lawsuit sued? suing court judge.ruled police arrest prison jail probation
        convict conviction felony misdemean crimin offen[cs]e fined restraining custody divorc visa asylum
        deport undocumented witness.statement settlement.with subpoena anwalt anwält gericht klage polizei
        verhaft gefängnis vorstraf scheidung sorgerecht asyl abschieb anzeige avocat tribunal procès police
        arrêt prison divorc garde.alternée asile abogad juicio tribunal policía cárcel divorci custodia
        asilo denuncia
    """,
    SEXUALITY: """
        gay lesbian bisexual queer transgender trans.woman trans.man nonbinary coming.out came.out closeted
        sex sexual sexuality porn nudes? condom contracep birth.control viagra libido orgasm affair.with
        cheat(?:ed|ing)?.on one.night fetish kink hookup grindr tinder schwul lesbisch bisexuell sexualität
        verhütung affäre homosexuel lesbienne sexuel sexe contracepti homosexual lesbiana sexo sexual
        anticoncepti
    """,
}
_LOCATION = re.compile(
    r"""(?ix)
    \b(?:my|our|his|her|their|meine?|unsere|mon|notre|mi|nuestra)\s+(?:home\s+)?(?:address|adresse|dirección)\b
    | \bi(?:'m|\s+am)?\s+(?:live|living|staying)\s+at\s+(?:number\s+)?\d
    | \b\d{1,5}[a-z]?\s+(?:[A-Za-zÀ-ÿ'-]+\s+){1,3}
      (?:street|st\.|road|rd\.|avenue|ave\.|lane|drive|close|square|court)(?!\w)
    | \b[A-Za-zÀ-ÿ-]{3,}(?:straße|strasse|str\.|gasse|weg|platz|allee)\s+\d{1,4}\b
    | \b(?:\d{1,4}\s*,?\s+)?(?:rue|avenue|boulevard|calle|avenida|plaza|via|rua)\s+(?:\w+\s+){1,4}\d{1,4}\b
    | \b\d{1,4}\s*,?\s+(?:rue|avenue|boulevard)\s+\w+
    | \b[A-Z]{1,2}\d{1,2}[A-Z]?\s*\d[A-Z]{2}\b
    | [-+]?\d{1,2}\.\d{4,}\s*,\s*[-+]?\d{1,3}\.\d{4,}
    | \b(?:house|flat|home|wohnung|haus)\b.{0,30}\b(?:empty|unattended|leer)\b
    | \b(?:key|schlüssel|clé|llave)\b.{0,40}\b(?:under|behind|unter|hinter|sous|debajo)\b
    """
)
_RELATION = re.compile(
    r"""(?ix)\b(?:
    mother|mum|mom|father|dad|sister|brother|son|daughter|wife|husband|partner|ex|boyfriend|girlfriend|fianc[eé]e?|aunt|
    uncle|cousin|niece|nephew|grandmother|grandfather|grandma|grandpa|friend|colleague|boss|neighbou?r|flatmate|roommate|
    mutter|vater|schwester|bruder|sohn|tochter|frau|mann|freundin|freund|chefin|chef|nachbarin|nachbar|kollegin|kollege|
    mère|père|sœur|frère|fils|fille|femme|mari|ami|amie|patron|voisine?|
    madre|padre|hermana|hermano|hijo|hija|esposa|marido|amiga|amigo|jefa|jefe|vecina|vecino)\b
    """
)
_PRIVATE_LIFE = re.compile(
    r"""(?ix)\b(?:
    affair|divorc\w*|pregnan\w*|fired|laid\s+off|drunk|drinks\s+too\s+much|addict\w*|secret(?:ly)?|broke\s+up|separated|
    died|dying|funeral|abus\w*|hit\s+(?:him|her|me)|gambl\w*|owes|stole|stealing|
    geheim|getrennt|gekündigt|gefeuert|gestorben|betrunken|enceinte|licencié\w*|séparé\w*|mort|separad\w*|despedid\w*)\b
    """
)


def _pattern(words: str) -> re.Pattern[str]:
    """Words by how they begin; a dot stands for a space or a hyphen between two."""
    begun = "|".join(word.replace(".", r"[\s-]") for word in words.split())
    return re.compile(rf"(?i)\b(?:{begun})\w*")


_PATTERNS = {kind: _pattern(words) for kind, words in _WORDS.items()}
_HARMLESS = re.compile(
    r"""(?ix)\b(?:
    sexton|sextet|sussex|essex|middlesex|investigat\w*|court(?:yard|esy|eous)\w*|(?:tennis|basketball)\scourt|stipend|
    doctor\swho|prison\sbreak|sued[ae]\w*|shares?\s(?:a|the|my|our|her|his|it|them)|stock(?:ing|s?\spot)\w*|
    konto(?:r|rist)\w*|strok(?:e|ed|ing)\s(?:the|my|a|his|her)|visage\w*|pill(?:ar|ow)\w*|arrested\sdevelopment
    )\b"""
)


def kinds_of(text: str, *, own: bool = True) -> frozenset[str]:
    """The kinds of a text; what somebody else than its owner said is about other people, whatever it says."""
    plain = _HARMLESS.sub(" ", text)
    found = {kind for kind, pattern in _PATTERNS.items() if pattern.search(plain)}
    if _LOCATION.search(text):
        found.add(LOCATION)
    if not own or (_RELATION.search(plain) and (found or _PRIVATE_LIFE.search(plain))):
        found.add(OTHERS)
    return frozenset(found)
