"""What is given as a file to keep: data, Markdown, a page of HTML that needs nothing else, or a drawing."""

from __future__ import annotations

from typing import Literal

from fastapi.responses import Response

Form = Literal["json", "md", "html"]
_TYPES = {
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "svg": "image/svg+xml",
}


def attachment(name: str, form: Form | Literal["svg"], content: str) -> Response:
    """The file `name.form`, to be saved: no browser shows it as a page of ours, or guesses what it is."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=_TYPES[form], headers=headers)
