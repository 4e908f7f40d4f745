"""TFDS dataset builders that come with the package."""
