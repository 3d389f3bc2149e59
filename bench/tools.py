"""Programs the benchmarks need from the machine: found, compiled into bench/build, or installed by apt."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

BENCH = Path(__file__).resolve().parent
BUILD = BENCH / "build"
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


def compiled(source: str) -> Path | None:
    """The program made from a C file under bench/, compiled when older than its source; None without a compiler."""
    origin = BENCH / source
    program = BUILD / origin.stem
    if program.exists() and program.stat().st_mtime >= origin.stat().st_mtime:
        return program
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    BUILD.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(program), str(origin)], check=True)
    return program


def wrk() -> str | None:
    """The load generator wrk; None when it is missing and can't be installed."""
    return shutil.which("wrk") or (shutil.which("wrk") if _apt_install("wrk") else None)


def nchan() -> str | None:
    """nginx with the Nchan module; None when it is missing and can't be installed."""
    if not (NCHAN_MODULE.exists() and _nginx()):
        _apt_install("nginx-light", "libnginx-mod-nchan")
    return _nginx() if NCHAN_MODULE.exists() else None


def _nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def _apt_install(*packages: str) -> bool:
    """Install Debian packages without starting their services; False when that is not possible here."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return False
    refusal = Path("/usr/sbin/policy-rc.d")  # what the package scripts ask before they start a service
    ours = not refusal.exists()
    if ours:
        refusal.write_text("#!/bin/sh\nexit 101\n")
        refusal.chmod(0o755)
    try:
        command = [apt, "install", "--yes", "--no-install-recommends", *packages]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for attempt in range(2):
            if subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0:
                return True
            if attempt == 0:
                subprocess.run([apt, "update"], capture_output=True, check=False)
        return False
    finally:
        if ours:
            refusal.unlink(missing_ok=True)
