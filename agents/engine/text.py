"""Tokens to text, piece by piece: nothing is shown before it is certain.

Door: `TextStream`. A character whose bytes are split across tokens is held back until it is whole, and text that may
turn out to be the beginning of a stop string is held back until it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"


class TextStream:
    """Text of one completion as its tokens arrive; `stopped` tells that a stop string was met.

    One that is not `live` says nothing before the end, and needs no decoding until then.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = (), *, live: bool = True) -> None:
        self._decode = decode
        self._live = live
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._start = self._boundary = self._seen = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Text that is certain now that this token has come."""
        self._ids.append(token)
        if not self._live:
            return ""
        text = self._decode(self._ids[self._start :])
        certain = text.rstrip(_INCOMPLETE)  # a decoder that falls back to bytes shows one for each byte of a character
        whole = certain == text
        fresh, self._seen = certain[self._seen :], max(self._seen, len(certain))
        if whole:  # the next window keeps one finished piece, for tokenizers that join words by their neighbours
            self._start, self._boundary = self._boundary, len(self._ids)
            self._seen = len(self._decode(self._ids[self._start :]))
        return self._release(fresh)

    def finish(self) -> str:
        """What was held back, when no more tokens come; nothing after a stop string."""
        if self.stopped:
            return ""
        rest = self._release(self._decode(self._ids[self._start :])[self._seen :])
        held, self._held = self._held, ""
        return rest + held

    def _release(self, fresh: str) -> str:
        text = self._held + fresh
        found = min((at for stop in self._stop if (at := text.find(stop)) >= 0), default=-1)
        if found >= 0:
            self.stopped, self._held = True, ""
            return text[:found]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
