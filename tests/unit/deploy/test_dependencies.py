"""What is installed where: the Claude Agent SDK is for one image and for the tests."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def locked(name: str) -> set[str]:
    """The packages of a requirements file, with their versions; it may hold nothing else but hashes."""
    lines = (ROOT / name).read_text().splitlines()
    packages = {line.removesuffix(" \\") for line in lines if not line.startswith(" ")}
    assert all(re.match(r"[a-z0-9._-]+==\S+( ; .+)?$", package) for package in packages)
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines if line.startswith(" "))
    return packages


def test_each_set_of_requirements_holds_the_one_before_at_the_same_versions() -> None:
    runtime, claude, dev = locked("requirements.txt"), locked("requirements-claude.txt"), locked("requirements-dev.txt")

    assert runtime < claude < dev
    assert not any(package.startswith("claude-agent-sdk") for package in runtime)
    assert any(package.startswith("claude-agent-sdk") for package in claude)


def test_one_image_alone_has_the_sdk_and_none_has_the_stand_ins() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    stages = dict(re.findall(r"(?ms)^FROM \S+ AS (\w+)\n(.*?)(?=^FROM|\Z)", text))

    assert [name for name, steps in stages.items() if "requirements-claude.txt" in steps] == ["claude_worker"]
    assert "standins" not in text
    assert "standins" not in (ROOT / ".dockerignore").read_text()
    assert set(stages) == {"dependencies", "code", "service", "claude_worker"}
