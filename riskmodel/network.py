"""The network as the environment describes it: trusted certificates and proxies.

Errors name the variable that is wrong. They never show the value of a proxy, which can contain a password.
"""

import os
import ssl
from pathlib import Path
from urllib.request import getproxies

import httpx2

from riskmodel.errors import BadInput

CA_BUNDLE = "VIGIE_CA_BUNDLE"
"""Names a file of certificates (PEM) to trust besides those of the system, such as that of an office's proxy."""


def tls_context() -> ssl.SSLContext:
    """Return what to trust: the system's certificates (or SSL_CERT_FILE, SSL_CERT_DIR instead), and VIGIE_CA_BUNDLE.

    Raises BadInput if one of these variables names what cannot be read.
    """
    file, folder, bundle = (os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", CA_BUNDLE))
    # OpenSSL accepts a folder that does not exist, and then trusts nobody.
    if folder and not file and not any(Path(part).is_dir() for part in folder.split(os.pathsep)):
        raise BadInput(f"SSL_CERT_DIR: there is no folder {folder}: correct the variable or unset it")
    try:
        context = httpx2.create_ssl_context()
    except OSError as failure:
        raise _unreadable("SSL_CERT_FILE", file, failure) from None
    if bundle:
        try:
            context.load_verify_locations(cafile=bundle)
        except OSError as failure:
            raise _unreadable(CA_BUNDLE, bundle, failure) from None
    return context


def check_proxies(context: ssl.SSLContext) -> None:
    """Raise BadInput if a proxy that the environment names cannot be used."""
    for scheme, address in getproxies().items():
        if scheme not in ("http", "https", "all"):
            continue
        name = _variable(scheme)
        try:
            httpx2.HTTPTransport(proxy=address if "://" in address else f"http://{address}", verify=context).close()
        except ImportError:
            raise BadInput(
                f"{name} names a SOCKS proxy, which needs one more package: pip install socksio. Or name an HTTP proxy "
                "(http://host:port), or unset the variable"
            ) from None
        except (ValueError, httpx2.InvalidURL):
            raise BadInput(
                f"{name} is no address of a proxy that can be used: write http://host:port or "
                "http://user:password@host:port (or socks5://host:port), or unset the variable"
            ) from None


def proxy_variable(scheme: str) -> str:
    """Return the name of the variable that names the proxy for addresses of a scheme, `http` or `https`."""
    return _variable(scheme if scheme in getproxies() else "all")


def _variable(scheme: str) -> str:
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), "the system's settings")


def _unreadable(variable: str, path: str | None, failure: OSError) -> BadInput:
    no_pem = "it contains no certificate in PEM format (-----BEGIN CERTIFICATE-----)"
    reason = no_pem if isinstance(failure, ssl.SSLError) else failure.strerror
    return BadInput(f"{variable}: {path} cannot be used: {reason}. Correct the variable or unset it")
