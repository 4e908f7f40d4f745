"""Finds the commands that documentation and programs teach."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
FILES = ("*.md", "docs/*.md", "*.py", "cgc_tf/**/*", "export/**/*", "benchmarks/**/*", "configs/**/*")
TEXTS = (".md", ".py", ".flags", ".toml", ".yaml", ".config", "")
PROGRAMS = "python3? |pip3? |pip-audit |make(?: |$)|curl |docker |cd |sha256sum |uv |apt-get |printf |echo "
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ +)*(?:\.venv/bin/)?(?:{PROGRAMS})")


def files():
    """The files that may teach a command."""
    found = {path for pattern in FILES for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if path.suffix in TEXTS and "dummy_data" not in path.parts)


def taught(path):
    """The commands of a file in their order: lines of code blocks, docstrings and comments, and `inline code`.

    A line's command ends where two spaces or a comment begin, and goes on after a line that ends with `|` or `\\`.
    """
    text = path.read_text()
    if path.suffix == ".py":
        text = text.partition('"""')[2].partition('"""')[0]  # the module's docstring
    found, lines = [], iter(text.splitlines())
    for line in lines:
        line = re.sub(r"^\s*(?:#\s+)?(?:\$ )?", "", line) if re.match(r"\s+|#\s{2,}|#\s[A-Z_]+=", line) else line
        while COMMAND.match(line) and line.endswith(("|", "\\")):
            line = f"{line.removesuffix(chr(92)).rstrip()} {next(lines).strip()}"
        if COMMAND.match(line):
            found.append(re.split(r"\s{2,}|\s+#", line)[0].strip())
        found += [code for code in re.findall(r"`([^`]+)`", line) if COMMAND.match(code)]
    return found


def all_taught():
    """{command: the files that teach it}; the environment's Python is `python`, so that nothing is run twice."""
    found = {}
    for path in files():
        for command in taught(path):
            found.setdefault(command.replace(".venv/bin/python", "python"), []).append(str(path.relative_to(ROOT)))
    return found
