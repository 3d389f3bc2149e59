"""Bodies as they travel: large ones compressed."""

import gzip
import zlib

from shared.bus.frames import Delivery
from shared.errors import Rejected, invalid

COMPRESS_FROM = 256 * 1024
# GitHub's cap of 25 MB, and room for the envelope.
MAX_BODY = 26 * 1024 * 1024


def packed(body: bytes) -> tuple[bytes, str]:
    """The body and its content encoding: gzip from 256 KiB up, else as it is."""
    return (gzip.compress(body, compresslevel=1), "gzip") if len(body) > COMPRESS_FROM else (body, "")


def unpacked(delivery: Delivery) -> bytes:
    """A delivery's body. Raises `Rejected` when it is compressed in an unknown way, damaged, or too large inside."""
    if not delivery.content_encoding:
        return delivery.body
    if delivery.content_encoding != "gzip":
        raise invalid(f"the content encoding {delivery.content_encoding!r} is not known; gzip is")
    inflate = zlib.decompressobj(wbits=31)
    try:
        body = inflate.decompress(delivery.body, MAX_BODY)
    except zlib.error as error:
        raise invalid(f"the body is not gzip: {error}") from None
    if inflate.unconsumed_tail:
        raise Rejected("too_large", f"the body is over {MAX_BODY} bytes when decompressed")
    if not inflate.eof:
        raise invalid("the gzip body ends too early")
    if inflate.unused_data:
        raise invalid("something follows the gzip body")
    return body
