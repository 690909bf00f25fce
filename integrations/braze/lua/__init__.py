"""Redis scripts, one file each; keys and arguments are documented at the head of each."""

from pathlib import Path


def source(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text()
