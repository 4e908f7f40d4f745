"""What pyproject.toml cannot say: `export/` and `configs/` are installed inside `cgc_tf`, the one top-level name."""

from setuptools import find_packages, setup

exported = [f"cgc_tf.{name}" for name in find_packages(include=["export", "export.*"])]
setup(
    packages=[*find_packages(include=["cgc_tf", "cgc_tf.*"]), *exported, "cgc_tf.configs"],
    package_dir={"cgc_tf.export": "export", "cgc_tf.configs": "configs"},
)
