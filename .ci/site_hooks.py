"""Make the site out of the files as GitHub shows them, and hold that it needs no network.

Rules:
- README.md, CONTRIBUTING.md and CHANGELOG.md are pages of the site; links between them and docs/ work in both places.
- No page of the built site loads anything from another host. Links that a reader may follow are no loading.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
STYLE = "site.css"
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# What a browser would fetch by itself: scripts, styles, pictures, frames, and files that a style names.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|object|embed)\b[^>]*?\b(?:src|data)=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon|modulepreload|dns-prefetch))[^>]*?"""
    r"""\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|@import\s+(?:url\()?["']?((?:https?:)?//[^"')\s]+)"""
    r"""|url\(["']?((?:https?:)?//[^"')\s]+)"""
)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie at the top of the project, and the style."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    files.append(File.generated(config, STYLE, content=(Path(__file__).parent / STYLE).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the project into links between pages."""
    top = page.file.src_uri in PAGES.values()

    def link(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        name = target if top else target.removeprefix("../")
        if name in PAGES and (top or target != name):
            return f"]({PAGES[name]}{anchor})"
        return f"]({target.removeprefix('docs/')}{anchor})" if top else match[0]

    return re.sub(r"\]\(([\w./-]+\.(?:md|png))(#[\w-]*)?\)", link, markdown)


def on_page_content(html: str, **_: Any) -> str:
    r"""Show a bar within code in a table as GitHub does: there `\|` is how it is written."""
    return re.sub(r"<td\b.*?</td>", lambda cell: cell[0].replace(r"\|", "|"), html, flags=re.S)


def on_post_build(config: Any) -> None:
    """Refuse a site that would load something from another host."""
    site = Path(config["site_dir"])
    found = [
        f"{path.relative_to(site)} loads {next(filter(None, match.groups()))}"
        for path in sorted(site.rglob("*"))
        if path.suffix in (".html", ".css")
        for match in _LOADED.finditer(path.read_text("utf-8"))
    ]
    if found:
        raise PluginError("the site needs a network:\n  " + "\n  ".join(found[:20]))
