"""Every message that docs/troubleshooting.md quotes is in the code, and every error class has a section there."""

import ast
import inspect
import re

import pytest

from keras_compress import errors

from .pages import REPOSITORY, text_of

PAGE = "docs/troubleshooting.md"
CHANGING = "\0"


def literal(node):
    """Return the text of a string in the code, with a mark for each part that changes, or None for other expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else CHANGING for part in node.values)
    return None


def texts_of_the_package():
    """Return every string of the package with the name of the error it is raised with, None for other strings."""
    found = []
    for path in sorted((REPOSITORY / "keras_compress").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                found.append((node.func.id, literal(node.args[0])))
            found.append((None, literal(node)))
    return [(name, text) for name, text in found if text]


TEXTS = texts_of_the_package()


def quoted():
    """Return the messages on the page, each with the title of its section."""
    messages = []
    for section in re.split(r"^## ", text_of(PAGE), flags=re.MULTILINE)[1:]:
        title, _, rest = section.partition("\n")
        messages += [(title, message) for message in re.findall(r"^\| `([^`]+)` \|", rest, re.MULTILINE)]
    return messages


def pattern_of(message):
    return re.compile(".*".join(re.escape(part) for part in message.split("…")), re.DOTALL)


@pytest.mark.parametrize(("section", "message"), quoted())
def test_a_quoted_message_is_in_the_code(section, message):
    assert len(message.replace("…", "").strip()) >= 10
    raised_with = {name for name, text in TEXTS if pattern_of(message).search(text)}
    assert raised_with, f"no string of the package matches {message!r}"
    others = {name for name in raised_with if name in errors.__all__} - {section}
    assert not others, f"{message!r} is raised as {sorted(others)}, not as {section}"


def test_the_check_would_notice_a_changed_message():
    assert not any(pattern_of("The model '…' is not built, for other reasons").search(text) for _, text in TEXTS)


def test_every_error_class_has_a_section():
    classes = {
        name
        for name in errors.__all__
        if inspect.isclass(kind := getattr(errors, name)) and issubclass(kind, Exception)
    }
    assert classes == {section for section, _ in quoted()} - {"Warnings"}
