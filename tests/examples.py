"""How many examples a property is tried with: few in every run, more where `SWITCHYARD_EXAMPLES` multiplies them."""

import os


def examples(usual: int) -> int:
    """`usual`, times the environment variable `SWITCHYARD_EXAMPLES` (a whole number, 1 when unset)."""
    return usual * int(os.environ.get("SWITCHYARD_EXAMPLES") or 1)
