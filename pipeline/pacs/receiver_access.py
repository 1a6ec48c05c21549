"""Decide who may send: the calling title and the address of an association, held against what was allowed.

Rules:
- Nothing but this machine is allowed unless the user names it, and then only what he named.
- A title alone proves nothing, since anybody can call himself anything: a rule always has an address or a network.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, NamedTuple

from ..core.arguments import bad_option

ANY_TITLE = "*"
LONGEST_TITLE = 16  # characters (PS3.5 table 6.2-1, VR AE)
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

Judgement = Literal["allowed", "title", "address"]  # what there is to be said against a sender


class SenderRule(NamedTuple):
    """Whom one rule allows. title: of the caller, `ANY_TITLE` for any. network: that its address is in."""

    title: str
    network: IPv4Network | IPv6Network


class AllowedSenders(NamedTuple):
    """Who may send: whoever one rule allows."""

    rules: tuple[SenderRule, ...]

    @property
    def is_local(self) -> bool:
        """Whether only this machine is allowed, so that no other needs to reach the port."""
        return all(rule.network.is_loopback for rule in self.rules)

    def knows(self, address: str) -> bool:
        """Whether a sender at this address may be allowed, by some title."""
        return any(_is_within(address, rule.network) for rule in self.rules)

    def judge(self, title: str, address: str) -> Judgement:
        """Judge a sender. title: as it calls itself. address: that its connection comes from."""
        by_title = [rule for rule in self.rules if rule.title in (ANY_TITLE, title.strip())]
        if not by_title:
            return "title"
        return "allowed" if any(_is_within(address, rule.network) for rule in by_title) else "address"


THIS_MACHINE = AllowedSenders(tuple(SenderRule(ANY_TITLE, network) for network in _LOOPBACK))


def parse_senders(words: Iterable[str]) -> AllowedSenders:
    """Read what was typed: TITLE@ADDRESS or TITLE@NETWORK each, * for any title; nothing for this machine alone.

    Raises: PipelineError BAD_OPTION.
    """
    rules = tuple(map(_parse_rule, words))
    return AllowedSenders(rules) if rules else THIS_MACHINE


def check_title(option: str, title: str) -> str:
    """Return a title without the spaces around it. Raises BAD_OPTION where it is none (PS3.5 6.2)."""
    stripped = title.strip()
    if not stripped or len(stripped) > LONGEST_TITLE or "\\" in stripped or not _is_plain(stripped):
        raise bad_option(option, title, f"1 to {LONGEST_TITLE} plain characters, no backslash")
    return stripped


def _parse_rule(word: str) -> SenderRule:
    title, _, place = word.rpartition("@")
    try:
        network = ip_network(place.strip("[] "), strict=False)
    except ValueError:
        network = None
    if not title or network is None:
        raise bad_option("--allow", word, "TITLE@ADDRESS or TITLE@NETWORK, such as CT1@10.0.0.5 or '*@10.0.0.0/24'")
    return SenderRule(title if title == ANY_TITLE else check_title("--allow", title), network)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _is_within(address: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.version == network.version and found in network
