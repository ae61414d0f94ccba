"""The order of day, month and year in a WhatsApp chat, which follows the phone and is written nowhere.

Door: `OrderFinder`, which sees every date of a file and then decides, or asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from personal_data.errors import InvalidInput
from personal_data.importers.parsed import DateOrder

Order = DateOrder
_ORDERS: tuple[Order, ...] = ("dmy", "mdy", "ymd")
_YEARS = range(2009, 2100)
"""The app is not older."""
_CLEARLY = 3
"""How many times fewer steps back in time one order must take where both take some: clocks are set back, too."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A date as it is written: three numbers and what separates them."""

    a: str
    b: str
    c: str
    dot: str

    def read(self, order: Order) -> date | None:
        """The date in this order; None where there is no such day."""
        first, second, third = {
            "dmy": (self.c, self.b, self.a),
            "mdy": (self.c, self.a, self.b),
            "ymd": (self.a, self.b, self.c),
        }[order]
        if len(first) not in (2, 4):
            return None
        try:
            return date(int(first) + 2000 * (len(first) == 2), int(second), int(third))
        except ValueError:
            return None


@dataclass(slots=True)
class _Trial:
    """How well an order fits: dates that cannot be, and steps back in time."""

    bad: int = 0
    back: int = 0
    last: date = date.min

    def see(self, found: date | None) -> None:
        if found is None or found.year not in _YEARS:
            self.bad += 1
            return
        self.back += found < self.last
        self.last = found

    def beats(self, other: _Trial) -> bool:
        return self.bad < other.bad or (self.bad == other.bad and _CLEARLY * self.back < other.back)


class OrderFinder:
    """Sees every date of a file, in its order."""

    def __init__(self) -> None:
        self._trials = {order: _Trial() for order in _ORDERS}
        self._last: Fields | None = None
        self._total = 0
        self._differ = False

    def see(self, fields: Fields) -> None:
        if fields == self._last:  # most messages are of the day of the one before
            return
        self._last = fields
        self._total += 1
        self._differ |= fields.read("dmy") != fields.read("mdy")
        for order, trial in self._trials.items():
            trial.see(fields.read(order))

    def order(self, name: str, wanted: Order | None) -> Order:
        """The order that is wanted, unless no date fits it (then it is meant for another file), or the one that fits.

        Raises:
            InvalidInput: two orders fit equally well.
        """
        if wanted is not None and self._trials[wanted].bad < self._total:
            return wanted
        left = [order for order in _ORDERS if not any(self._beats(other, order) for other in _ORDERS)]
        if "ymd" in left and len(left) > 1:  # phones that put the year first write four digits of it
            left.remove("ymd")
        # Dots stand between day, month and year wherever they stand in dates at all.
        if len(left) == 1 or not self._differ or (self._last is not None and self._last.dot == "."):
            return left[0]
        raise InvalidInput(
            f"{name}: its dates can be read as day/month or as month/day; say which with date_order (dmy or mdy)",
            param="date_order",
        )

    def _beats(self, one: Order, other: Order) -> bool:
        return self._trials[one].beats(self._trials[other])
