"""What the documentation points at is there: links, images, files of the code, and messages of the programs."""

import ast
import pathlib
import re

import pytest

import cgc_tf
from cgc_tf.common import program

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CODE = [path for package in ("cgc_tf", "export") for path in sorted((ROOT / package).rglob("*.py"))]

ENDINGS = ("config", "csv", "html", "json", "jsonl", "pb", "py")  # of files


def prose(path):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """What can follow # in a link to a page: its headings, as GitHub and mkdocs make ids of them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_lead_somewhere(page):
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        if not place.is_file() or (anchor and anchor not in anchors(place)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_are_there(page):
    names = re.findall(r"`((?:benchmarks|cgc_tf|configs|docs|export|tests)/[\w./-]*)`", page.read_text())
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_functions_and_classes_that_are_named_are_there():
    """What a page calls `module.name`."""
    text = "\n".join(page.read_text() for page in PAGES)
    named = re.findall(r"`(?:\w+\.)*(\w+)\.(\w+)(?:\(\w*\))?`", text)
    code = {stem: [path.read_text() for path in CODE if path.stem == stem] for stem, _ in named}
    named = [(stem, name) for stem, name in named if code[stem] and name not in ENDINGS]
    assert len(named) > 5
    defined = {
        (stem, name)
        for stem, name in named
        if any(re.search(rf"^ *(?:def|class) {name}\b", module, re.MULTILINE) for module in code[stem])
    }
    assert set(named) - defined == set()


def test_architecture_names_every_module():
    """Each package has its section `### package/: ...` with a row for each module, and no other rows."""
    text = (ROOT / "docs/architecture.md").read_text()
    named = set()
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        package = section.partition("/:")[0]
        named |= {f"{package}/{name}" for name in re.findall(r"^\| `([\w.]+\.py)` \|", section, re.MULTILINE)}
    modules = {str(path.relative_to(ROOT)) for path in CODE if path.name != "__init__.py"}
    assert named == {name for name in modules if "_dataset_builder" not in name and "/toy_aircraft/" not in name}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_cgc_are_there(page):
    assert set(re.findall(r"`cgc (\w+)", page.read_text())) <= set(program.MODULES)


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs/reference/public.md").read_text()
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", text, re.MULTILINE)) == sorted(cgc_tf.__all__)
    for name in cgc_tf.__all__:
        getattr(cgc_tf, name)


def messages():
    """The texts in the code, in one; a line break stands for what is filled in."""
    for node in (node for path in CODE for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_messages_that_are_explained_are_messages_of_the_programs():
    """Each message in the left column of troubleshooting, between the `...` that stand for what is filled in."""
    known = "\n".join(messages())
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    quoted = [quote for row in rows for quote in re.findall(r"`([^`]*\.\.\.[^`]*)`", row)]
    pieces = {piece.strip(" ;:,()") for quote in quoted for piece in quote.removeprefix("note: ").split("...")} - {""}
    assert len(pieces) > 15
    assert [piece for piece in pieces if piece not in known] == []
