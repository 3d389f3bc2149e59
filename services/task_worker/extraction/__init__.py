"""Finds code, commands, paths, errors, questions and secrets in the output of a process; pure, in linear time.

    extractor = Extractor(load_patterns(path))            # or Extractor(): the patterns that come with it
    masking, lines = mask_lines(masking, lines)           # before anything is stored or sent
    state, findings = extractor.feed(state, lines)        # afterwards, in batches of any size
    state, findings = extractor.finish(state)             # once the process has ended: what was still open

Both states are JSON objects (`{}` for a new run) of at most 400 kB, kept by the caller between calls; they never hold a
secret in clear, except for the first letters of one that a line was cut in. Lines come in the order of their numbers,
each once. How they are divided among calls changes nothing: neither between two lines, nor within one (`more`), nor
with the state written and read again. See docs/output-extraction.md for every type, pattern and rule.
"""

from services.task_worker.extraction.findings import TYPES, Finding, Line
from services.task_worker.extraction.masking import mask, mask_lines
from services.task_worker.extraction.scanning import Extractor
from services.task_worker.extraction.user_patterns import PatternsError, UserPattern, load_patterns

__all__ = [
    "TYPES",
    "Extractor",
    "Finding",
    "Line",
    "PatternsError",
    "UserPattern",
    "load_patterns",
    "mask",
    "mask_lines",
]
