"""Render the templates of this package as pages that run nothing but their own scripts.

Rules:
- Every value is escaped on its way in: as HTML, and as text that nothing in it turns round or hides.
- A page's Content-Security-Policy names its style and its scripts by their digests, which are those of this package's
  files and never of the rendered page: what a value smuggles into a page does not run.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ..core.extras import imported
from ..core.plain_text import escape_text
from ..core.version import __version__

_TEMPLATES = Path(__file__).parent / "templates"


class Script(NamedTuple):
    """A script of a page. text: holds no end of a script element. is_module: whether it is a module."""

    text: str
    is_module: bool = False


def script_of(*names: str, is_module: bool = False) -> Script:
    """Read files of the templates as one script."""
    return Script(_read(names), is_module)


def render(template: str, *, styles: Sequence[str] = (), scripts: Sequence[Script] = (), **values: Any) -> str:
    """Render a template of this package.

    Args:
        template: the file's name.
        styles: further style sheets of the page, after style.css.
        scripts: in the order in which they run, at the end of the page.
        values: what the template shows, all of them escaped.

    Returns:
        The HTML text.
    """
    style = _read(("style.css", *styles))
    frame = {"style": style, "scripts": scripts, "policy": _make_policy(style, scripts), "version": __version__}
    return str(environment().get_template(template).render(**frame, **values))


@cache
def environment() -> Any:
    """Make the environment of the templates, with their filters."""
    jinja2 = imported("report", "jinja2")
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_plain,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_function"] = lambda value, **options: json.dumps(_plain(value), **options)
    # Adding 0.0 makes a negative zero a plain one.
    made.filters["mm"] = lambda value, digits=3: f"{value + 0.0:.{digits}f}"
    made.filters["short"] = lambda value: f"{value + 0.0:.6g}"
    return made


def _plain(value: Any) -> Any:
    """A value of a page with its texts as plain text: those too that a script of the page will show. Markup stays."""
    if isinstance(value, str):
        return value if hasattr(value, "__html__") else escape_text(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _make_policy(style: str, scripts: Sequence[Script]) -> str:
    """Make the Content-Security-Policy of a page: its pictures, its style, its scripts, and nothing from elsewhere."""
    rules = [
        "default-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "img-src data:",
        f"style-src {_digest(style)}",
        *([f"script-src {' '.join(_digest(script.text) for script in scripts)}"] if scripts else []),
    ]
    return "; ".join(rules)


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


def _read(names: Sequence[str]) -> str:
    return "".join((_TEMPLATES / name).read_text("utf-8") for name in names)
