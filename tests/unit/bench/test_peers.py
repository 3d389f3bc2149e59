"""The task queues ours is measured beside."""

import re

from bench.peers import PEERS, REQUIREMENTS
from bench.processes import BENCH


def test_every_peer_has_a_program_and_every_package_is_pinned_by_its_hash_and_names_no_host() -> None:
    for peer in PEERS:
        assert (BENCH / "references" / f"{peer.module}.py").is_file()
    text = REQUIREMENTS.read_text()
    packages = re.findall(r"(?m)^[a-z0-9-]+(?:\[[a-z,]+\])?==\S+", text)
    assert len(packages) > 20
    assert len(re.findall(r"(?m)^[a-z]", text)) == len(packages)
    assert text.count("--hash=sha256:") >= len(packages)
    assert "://" not in text
