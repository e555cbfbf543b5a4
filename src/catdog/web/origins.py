"""Where a request comes from: this machine or another, this site's page or another's."""

import ipaddress
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from flask import Request

_FORWARDED: Final = frozenset({
    "HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_SERVER", "HTTP_X_REAL_IP",
})  # fmt: skip
"""What proxies add, as WSGI names it. Trusting a proxy does not take these out of a request."""


@lru_cache(maxsize=256)
def is_loopback(host: str | None) -> bool:
    """Tell whether an address or name can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def is_proxied(received: Request) -> bool:
    """Tell whether a request bears a mark of a proxy, trusted or not."""
    return not _FORWARDED.isdisjoint(received.environ)


def is_direct(received: Request) -> bool:
    """Tell whether a client on this machine sent a request, and no proxy did."""
    return not is_proxied(received) and is_loopback(received.remote_addr)


def is_local(received: Request) -> bool:
    """Tell whether a request comes from this machine, directly, and from no page of another site."""
    if not is_loopback(received.environ.get("SERVER_NAME")) or not is_direct(received):
        return False
    # A name that was made to lead here (DNS rebinding) stands in Host; a page of another site in Origin.
    if not is_loopback(_host_of(f"//{received.host}")):
        return False
    return is_same_site(received)


def is_same_site(received: Request) -> bool:
    """Tell whether a request comes from a page of this server, or from no page at all.

    Browsers say where a page is from in Origin; where that is missing, in Referer. Of a form on a page that tells no
    referrer, as ours, Origin is `null`; Sec-Fetch-Site, which no page can set, says whose form it is.
    """
    relation = received.headers.get("Sec-Fetch-Site", "same-origin")
    if relation not in ("same-origin", "none"):
        return False
    source = received.headers.get("Origin") or received.headers.get("Referer")
    if source is None or (source == "null" and "Sec-Fetch-Site" in received.headers):
        return True
    try:
        parts = urlsplit(source)
    except ValueError:
        return False
    # Without TLS here, a proxy may have ended it, so that https may stand there; the other way round it may not.
    schemes = {"https"} if received.is_secure else {"http", "https"}
    return parts.scheme in schemes and parts.netloc.casefold() == received.host.casefold()


def client_network(received: Request) -> str:
    """Name whom a request is counted for: an address, or its network where one person has many addresses (IPv6)."""
    try:
        address = ipaddress.ip_address(received.remote_addr or "")
    except ValueError:  # a Unix socket has none
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and not address.ipv4_mapped:
        return str(ipaddress.ip_network((address, 64), strict=False))  # what one household or server gets, RFC 6177
    return str(address)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
