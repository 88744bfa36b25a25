"""Stand-ins for NNCF's descriptions of a scope, so that what takes them is tested whatever NNCF is installed."""

import dataclasses


@dataclasses.dataclass
class ScopeOfNNCF:
    """As ``nncf.IgnoredScope`` is defined."""

    names: list = dataclasses.field(default_factory=list)
    patterns: list = dataclasses.field(default_factory=list)
    types: list = dataclasses.field(default_factory=list)
    subgraphs: list = dataclasses.field(default_factory=list)
    validate: bool = True


@dataclasses.dataclass
class SubgraphOfNNCF:
    """As ``nncf.Subgraph`` is defined."""

    inputs: list = dataclasses.field(default_factory=list)
    outputs: list = dataclasses.field(default_factory=list)
