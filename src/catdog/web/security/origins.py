"""Where a request comes from: this machine or another, this site's page or another site's."""

import ipaddress
import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from flask import Request

_MARKS: Final = tuple(f"HTTP_{name}" for name in (
    "FORWARDED", "VIA", "X_FORWARD", "X_ORIGIN", "X_REWRITE_",
    # The client.
    "CLIENT_", "REMOTE_", "TRUE_CLIENT_", "X_CLIENT_", "X_CLUSTER_", "X_COMING_FROM", "X_PEER_", "X_REAL_",
    "X_REMOTE_", "X_TRUE_", "X_USER_IP",
    # The address, protocol or host requested.
    "EARLY_DATA", "FRONT_END_HTTPS", "SSL_", "X_HOST", "X_HTTPS", "X_PORT", "X_PROTO", "X_SCHEME", "X_SERVER_",
    "X_SSL_", "X_TLS_", "X_URL_",
    # The time, and the software on the way.
    "PROXY", "SURROGATE_", "WL_PROXY_", "X_ACCEL_", "X_ENVOY_", "X_HAPROXY_", "X_ISTIO_", "X_NGINX_", "X_PROXY",
    "X_QUEUE_", "X_REQUEST_START", "X_REVERSE_PROXY", "X_SENDFILE_", "X_TRAEFIK", "X_VARNISH", "X_AUTH_REQUEST_",
    "X_WEBAUTH_", "MAX_FORWARDS",
    # Networks, hosts and tunnels by name.
    "AKAMAI_", "ALI_", "CDN_", "CF_", "CLOUDFRONT_", "DISGUISED_HOST", "EAGLEEYE_", "FASTLY_", "FLY_", "INCAP_",
    "NGROK_", "RENDER_", "RNDR_", "TAILSCALE_", "X_AKAMAI_", "X_AMZ_CF_", "X_AMZN_", "X_APPENGINE_", "X_ARR_",
    "X_AZURE_", "X_BLUECOAT_", "X_CDN_", "X_CLOUD_TRACE_", "X_CONSUMER_", "X_FASTLY_", "X_FLY_", "X_GATEWAY_", "X_GFE_",
    "X_GITHUB_", "X_GOOG_", "X_GOOGLE_", "X_HEROKU_", "X_INCAP_", "X_KONG_", "X_MS_CLIENT_", "X_NF_", "X_NGROK_",
    "X_RAILWAY_", "X_SUCURI_", "X_TAILSCALE_", "X_VERCEL_",
    "X_WAWS_",
))  # fmt: skip
"""Prefixes of headers that proxies, load balancers and tunnels add, as WSGI spells them. Browsers, curl and clients of
the API send none of them. They stay in a request even if the proxy is trusted."""

_MARK_INSIDE: Final = re.compile(
    # The address of a client: DO-Connecting-IP, X-Anything-Client-IP, X-Src-Addr.
    r"HTTP_.*(_(IP|IPS|IPADDRESS|CLIENTIP|REALIP|REMOTEIP|SRCIP|USERIP|PEERIP|REMOTE_ADDR|SRC_ADDR|CLIENT_ADDR)$"
    # The original host, path or way: X-Anything-Forwarded-Host, X-Bluecoat-Via, X-Anything-Original-URI.
    r"|_(CONNECTING|CLIENT|REAL)_IP_|FORWARDED|FORWARDS($|_)|_VIA($|_)|_(ORIGINAL|REPLACED|REWRITTEN)_|_PROX(Y|IED)($|_))"
)
"""Patterns anywhere in such names, which new proxies and networks follow too."""


@lru_cache(maxsize=256)
def is_loopback(host: str | None) -> bool:
    """Return whether an address or name can be reached only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def is_proxied(received: Request) -> bool:
    """Return whether a request has headers of a proxy, trusted or not."""
    return any(name.startswith(_MARKS) or _MARK_INSIDE.match(name) for name in received.environ)


def may_be_proxied(received: Request) -> bool:
    """Return whether a request has headers of a proxy, or uses HTTP/1.0, as nginx does by default.

    This is no protection on its own: a proxy that uses HTTP/1.1 and adds no headers looks like a local client.
    """
    return received.environ.get("SERVER_PROTOCOL") == "HTTP/1.0" or is_proxied(received)


def is_direct(received: Request) -> bool:
    """Return whether a client on this machine sent a request, not a proxy."""
    return is_loopback(received.remote_addr) and not is_proxied(received)


def is_local(received: Request) -> bool:
    """Return whether a request comes directly from this machine, and not from another site's page."""
    if not is_loopback(received.environ.get("SERVER_NAME")) or not is_direct(received) or may_be_proxied(received):
        return False
    # Host reveals a foreign name that resolves to this machine (DNS rebinding); Origin reveals another site's page.
    if not is_loopback(_host_of(f"//{received.host}")):
        return False
    return is_same_site(received)


def is_same_site(received: Request) -> bool:
    """Return whether a request comes from a page of this server, or from no page at all."""
    # Browsers name the page's site in Origin, else in Referer. For a form on a page that sends no referrer, as ours,
    # Origin is `null`, and Sec-Fetch-Site, which pages can't set, tells.
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
    # A proxy may have ended TLS, so https is possible on a plain connection; http on a TLS connection is not.
    schemes = {"https"} if received.is_secure else {"http", "https"}
    return parts.scheme in schemes and parts.netloc.casefold() == received.host.casefold()


def client_network(received: Request) -> str:
    """Return whom a request is counted for: its address, or for IPv6 its network."""
    try:
        address = ipaddress.ip_address(received.remote_addr or "")
    except ValueError:  # a Unix socket has none
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and not address.ipv4_mapped:
        return str(ipaddress.ip_network((address, 64), strict=False))  # what one household or server gets (RFC 6177)
    return str(address)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
