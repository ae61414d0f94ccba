"""The word lists of the nursery's closed grammar, and which of them a relation's value is drawn from."""

from __future__ import annotations

from collections.abc import Mapping

from training.tasks.environments import WEEKDAYS


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


PETS = _words("cat dog bird horse rabbit parrot hamster turtle snake goldfish pony mouse")
RELATIVES = _words(
    "sister brother mother father aunt uncle son daughter cousin friend neighbour boss teacher grandmother "
    "grandfather wife husband partner colleague doctor"
)
THINGS = _words(
    "bike car boat bag coat phone laptop guitar piano lamp umbrella camera book key ladder tent hat scarf kettle clock "
    "sofa desk violin drill wallet helmet suitcase toolbox passport backpack"
)
APPOINTMENTS = _phrases("dentist appointment,exam,interview,wedding,party,flight,meeting,concert,lesson,trip,haircut")
EVENTS = _words("concert exam lesson meeting party match course film shift train flight play class lecture")
LOCKED = _phrases("front door,phone,bike lock,garage,safe,locker,gate,office,laptop,alarm,suitcase,cellar")
PLACES = _words(
    "garage kitchen cellar garden hall bedroom attic shed office car cupboard bathroom bed table stairs sofa"
)
PREPOSITIONS = ("in the", "under the", "behind the", "on the", "next to the")
COLOURS = _words("red blue green yellow black white brown grey orange purple pink silver")
FOODS = _words(
    "nuts milk eggs fish bread rice soup pasta cheese apples pears carrots tomatoes honey chocolate pizza salad "
    "strawberries onions beans mushrooms potatoes"
)
DRINKS = _words("tea coffee milk water juice cocoa lemonade cider")
JOBS = _words(
    "baker teacher nurse driver painter farmer doctor carpenter cook gardener lawyer pilot tailor singer plumber "
    "translator librarian builder dentist journalist"
)
INSTRUMENTS = _words("piano guitar violin flute drums cello trumpet harp")
LANGUAGES = _words("English German French Spanish Turkish Polish Greek Arabic Hindi Swahili Welsh Danish")
SPORTS = _words("tennis football chess swimming running sailing judo climbing hockey golf")
CITIES = _words(
    "Oslo Paris Rome Lima Cairo Delhi Tokyo Berlin Madrid Vienna Prague Athens Dublin Lisbon Nairobi Accra Quito "
    "Bergen Leeds Porto Ghent Graz Turin Kyoto Hanoi Tunis Lagos Riga Basel York"
)
MONTHS = _words("January February March April May June July August September October November December")
PET_NAMES = _words("Rex Luna Bella Milo Coco Max Daisy Simba Rocky Nala Oscar Ruby Toby Molly Felix Bruno")
FAVOURITES: Mapping[str, str] = {
    "colour": "colour",
    "food": "food",
    "drink": "drink",
    "sport": "sport",
    "city": "city",
    "day": "weekday",
    "month": "month",
    "number": "small number",
    "book": "name",
    "song": "name",
    "singer": "name",
    "flower": "invented word",
    "animal": "pet",
    "instrument": "instrument",
    "game": "invented word",
}
"""Things that people have a favourite of, and the kind of value it takes."""

LISTED: Mapping[str, tuple[str, ...]] = {
    "colour": COLOURS,
    "weekday": WEEKDAYS,
    "month": MONTHS,
    "job": JOBS,
    "instrument": INSTRUMENTS,
    "food": FOODS,
    "drink": DRINKS,
    "sport": SPORTS,
    "language": LANGUAGES,
    "pet": PETS,
}
"""Kinds of value that come from a closed list."""
