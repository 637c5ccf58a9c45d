"""The address that a request comes from, as host/httpguard finds it. For ``guard``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_PORT = re.compile(
    r"(?P<v4>[0-9.]+):(?P<port4>[0-9]{1,5})|\[(?P<v6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\](:(?P<port6>[0-9]{1,5}))?", re.A
)
_MAPPED = ip_network("::ffff:0:0/96")


class UnreadableError(ValueError):
    """Something stands where an address belongs. ``text`` is what."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


UNIX = "unix:"  # stands for the Unix sockets that the server listens on


class Proxies:
    """Peers that are believed when they say, in X-Forwarded-For, for whom they ask."""

    def __init__(self, peers: Iterable[str | IPv4Network | IPv6Network]) -> None:
        listed = list(peers)
        self._unix = UNIX in listed
        self._networks = tuple(_network(p) for p in listed if p != UNIX)
        if not listed:
            raise ValueError("name at least one network to believe")

    def source(self, peer: str, lines: list[str]) -> IPAddress:
        """Return the caller: the nearest address that is not of a proxy.

        The entries of all lines are read from right to left; each was written
        by the hop to its right. What lies beyond the caller is not looked at,
        since the caller wrote it.
        """
        at = None if self._unix and peer == "" else peer_of(peer)
        for line in reversed(lines):
            for entry in reversed(line.split(",")):
                if at is not None and not self._believes(at):
                    return at
                at = _entry(entry.strip(" \t"))
        return at or peer_of(peer)

    def _believes(self, ip: IPAddress) -> bool:
        return any(ip in network for network in self._networks)


def peer_of(text: str) -> IPAddress:
    """Return the address of a connection's peer. A zone is an interface of this host, not part of it."""
    found = _address(text.partition("%")[0])
    if found is None:
        raise UnreadableError(f"the connection has no readable peer address: {text!r}", text)
    return found


def _entry(text: str) -> IPAddress:
    found = _address(text)
    if found is None and (m := _PORT.fullmatch(text)) and int(m["port4"] or m["port6"] or 0) <= 65535:
        found = _address(m["v4"] or m["v6"])
    if found is None:
        raise UnreadableError(f"the entry {text[:255]!r} of X-Forwarded-For is not an address", text)
    return found


def _address(text: str) -> IPAddress | None:
    """Return an address, None for anything else. One with a zone is none."""
    if "%" in text:
        return None
    try:
        ip = ip_address(text)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def _network(value: str | IPv4Network | IPv6Network) -> IPNetwork:
    if not isinstance(value, (str, IPv4Network, IPv6Network)):
        raise TypeError(f"a network is a str or one of ipaddress, not {value!r}")
    network = ip_network(value, strict=False)
    if isinstance(network, IPv6Network) and network.overlaps(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        if mapped is None or network.prefixlen < 96:
            raise ValueError(f"{network} holds IPv4 addresses and others")
        return ip_network((int(mapped), network.prefixlen - 96))
    return network
