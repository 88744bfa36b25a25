"""render: sections as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from keras_compress.html_report.section import Section, Table

__all__ = ["render"]


def render(title: str, sections: Sequence[Section]) -> str:
    """Return a page: style, script and pictures are inside, and a policy in it forbids a browser to load anything.

    Args:
        title: of the page.
        sections: in their order.

    Example:
        >>> "<h1>a &lt; b</h1>" in render("a < b", [])
        True
    """
    environment = Environment(
        loader=PackageLoader("keras_compress.html_report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["table"] = lambda value: isinstance(value, Table)
    return environment.get_template("page.html").render(title=title, sections=sections)
