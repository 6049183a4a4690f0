"""The page's own files, as they come with whimbrel, and the rules that a browser keeps for them."""

from __future__ import annotations

from importlib import resources

from whimbrel.prediction.serve.responses import Response

RULES = (
    "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    "cache-control: no-store\r\nx-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
    "cross-origin-opener-policy: same-origin\r\ncross-origin-resource-policy: same-origin\r\n"
)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def page_files() -> dict[str, Response]:
    """By their names; the page itself is ""."""
    found = {}
    for file in resources.files("whimbrel.console").joinpath("page").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind:
            name = "" if file.name == "index.html" else file.name
            found[name] = Response(200, file.read_bytes(), kind, RULES)
    return found


def html(status: int, title: str, text: str, more: str = "", headers: str = "") -> Response:
    """A page of one sentence; nothing of it may come from a request."""
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{more}<title>{title}</title></head>'
        f"<body><main><h1>{title}</h1><p>{text}</p></main></body></html>"
    )
    return Response(status, body.encode(), _TYPES["html"], RULES + headers)
