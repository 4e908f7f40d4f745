"""What mkdocs adds to the pages of docs/: those of the top folder, and a page of reference for each package."""

import pathlib

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parent.parent
TOP = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
TOP["SECURITY.md"] = "SECURITY.md"
PLAIN = ("LICENSE", "CITATION.cff")
PACKAGES = ("method", "data", "networks", "report", "training", "evaluation", "common")


def on_files(files, config):
    """Adds the pages, whose links to `docs/` then begin there; called by mkdocs."""
    for name, page in TOP.items():
        text = (ROOT / name).read_text().replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    for name in PLAIN:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for package in PACKAGES:
        modules = sorted((ROOT / "cgc_tf" / package).glob("*.py"))
        files.append(reference(config, package, f"cgc_tf.{package}", modules))
    files.append(reference(config, "export", "export", sorted((ROOT / "export").rglob("*.py"))))
    return files


def reference(config, page, title, paths):
    """A page with the public names of some modules, from their docstrings."""
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if path.stem != "__init__"]
    text = "\n\n".join([f"# {title}", *(f"::: {module}" for module in modules)])
    return File.generated(config, f"reference/{page}.md", content=text + "\n")
