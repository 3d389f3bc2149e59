"""The browser of the tests that need one."""

import os
import shutil
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium: the machine's own, else Debian's, installed where that is allowed."""
    if found := _which():
        return found
    if shutil.which("apt-get") and (os.geteuid() == 0 or shutil.which("sudo")):
        # Another process of the run may be installing it just now.
        wait = ["-o", "DPkg::Lock::Timeout=300"]
        command = ["apt-get", *wait, "install", "-y", "--no-install-recommends", "chromium"]
        prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for step in (command, ["apt-get", "update"], command):
            done = subprocess.run([*prefix, *step], env=quiet, capture_output=True, check=False, timeout=600)
            if step is command and done.returncode == 0:
                break
    if found := _which():
        return found
    reason = "Chromium is not installed and could not be (on Debian: apt-get install chromium)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _which() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)
