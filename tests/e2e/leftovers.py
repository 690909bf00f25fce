"""Which processes still run that were started for a directory."""

from pathlib import Path


def processes_of(directory: Path) -> list[str]:
    """Command lines of living processes that have `directory` as VAR_DIR or a file in it open (Linux: /proc)."""
    return [_command_line(process) for process in Path("/proc").glob("[0-9]*") if _belongs(process, directory)]


def _belongs(process: Path, directory: Path) -> bool:
    try:
        environment = (process / "environ").read_bytes().split(b"\0")
        files = [str(link.readlink()) for link in (process / "fd").iterdir()]
    except OSError:
        return False  # ended meanwhile, or another user's
    # Redis writes its title over its environment, but keeps its append-only file open.
    in_use = any(Path(file).is_relative_to(directory) for file in files)
    return f"VAR_DIR={directory}".encode() in environment or (in_use and process.name != _own_pid())


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return process.name


def _own_pid() -> str:
    return Path("/proc/self").readlink().name
