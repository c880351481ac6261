"""The words of commands that are not built: each names the rules that its command would keep.

A test compares the rules with RULES.md: a word goes from here when its rules are kept.
"""

from collections.abc import Mapping

_RETENTION = ("R16", "R18", "R19")
_COPIES = ("R25", "R27", "R28", "R29")
_SHARING = ("R32", "R33", "R34")
_TAGS = ("R56", "R57")

NOT_BUILT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "recast": {
        "schedule": _RETENTION,
        "policy": _RETENTION,
        "retention": _RETENTION,
        "quota": ("R11",),
        "billing": ("R43",),
        "region": ("R46",),
        "console": ("R41", "R60", "R62"),
        "vault": ("R33", "R34"),
        "enterprise-project": ("R55",),
        "tag": _TAGS,
    },
    "backup": {
        "schedule": _RETENTION,
        "policy": _RETENTION,
        "prune": _RETENTION,
        "forget": _RETENTION,
        "migrate": ("R34",),
        "copy": ("R28",),
        "tag": _TAGS,
    },
    "image": {
        "export": ("R24",),
        "download": ("R24",),
        "copy": _COPIES,
        "replicate": _COPIES,
        "publish": ("R26",),
        "share": _SHARING,
        "accept": ("R33",),
        "quota": ("R11",),
        "sources": ("R42",),
        "tag": _TAGS,
    },
    "server": {"tag": _TAGS, "export": ("R30",), "create-image": ("R68",)},
    "disk": {"tag": _TAGS, "export": ("R30",), "create-image": ("R68",)},
}
"""By group, or `recast` for the groups themselves; by word."""


def not_built(group: str, word: str) -> str:
    """A sentence about a word that is not built; empty for any other word."""
    rules = NOT_BUILT.get(group, {}).get(word)
    if not rules:
        return ""
    return f"{word!r} is not built yet: {', '.join(rules)}; RULES.md has the rules that are pending"
