"""Which processes still run that were started for a directory."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def processes_of(directory: Path) -> list[str]:
    """Command lines of living processes that have `directory` as VAR_DIR or a file in it open (Linux: /proc)."""
    return list(commands_of(directory).values())


def commands_of(directory: Path) -> dict[int, str]:
    """The same by process id."""
    processes = [process for process in Path("/proc").glob("[0-9]*") if _belongs(process, directory)]
    return {int(process.name): _command_line(process) for process in processes}


def _belongs(process: Path, directory: Path) -> bool:
    try:
        environment = (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # ended meanwhile, or another user's
    if f"VAR_DIR={directory}".encode() in environment:
        return True
    # Redis writes its title over its environment, but keeps its append-only file open.
    return process.name != _own_pid() and any(file.is_relative_to(directory) for file in _open_files(process))


def _open_files(process: Path) -> Iterator[Path]:
    """Those that are still open when looked at: a busy process closes some while its list is read."""
    with suppress(OSError):
        for link in (process / "fd").iterdir():
            with suppress(OSError):
                yield link.readlink()


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return process.name


def _own_pid() -> str:
    return Path("/proc/self").readlink().name
