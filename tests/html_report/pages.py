"""A page as a tree: parsed by the rules of HTML5, where any mistake is an error."""

import html5lib

SVG = "{http://www.w3.org/2000/svg}"


def parsed(path):
    """Return the tree of a page without namespaces for HTML."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(path.read_text(encoding="utf-8"))


def words(element):
    """Return the text of an element and all in it, with single spaces."""
    return " ".join("".join(element.itertext()).split())


def section(tree, name):
    """Return the section with an address, None if there is none."""
    return next((part for part in tree.iter("section") if part.get("id") == name), None)


def sections(tree):
    """Return the addresses of all sections, in order."""
    return [part.get("id") for part in tree.iter("section")]


def facts(tree):
    """Return the names and values of the summary."""
    pairs = section(tree, "summary").iter("div")
    return {words(pair.find("dt")): words(pair.find("dd")) for pair in pairs if pair.find("dt") is not None}


def table(element, number=0):
    """Return the rows of a table below an element, each a dict of cells by column; the first cell without its note."""
    body = list(element.iter("table"))[number].find("tbody")
    return [{cell.get("data-label"): cell for cell in row.iter("td")} for row in body.iter("tr")]


def short_repr(cell):
    """Return what a cell shows, without its note."""
    return " ".join((cell.find("span").text or "").split())


def note(cell):
    """Return the note of a cell, empty if it has none."""
    small = cell.find("span").find("small")
    return "" if small is None else words(small)


def pictures(element):
    """Return the pictures below an element by their titles."""
    return {words(figure.find("figcaption")): figure.find(f"{SVG}svg") for figure in element.iter("figure")}
