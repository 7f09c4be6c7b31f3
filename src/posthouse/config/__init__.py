"""posthouse.toml → frozen models.

`load` reads a file, `from_mapping` what is already parsed. Every key has a default; an unknown key or
a wrong value is a ConfigError that says where it stands and what is allowed.
"""

from posthouse.config.endpoint import Endpoint, split_next_hop
from posthouse.config.kinds import Restriction
from posthouse.config.load import ConfigError, Problem, from_mapping, load
from posthouse.config.model import Config, RelayDomain
from posthouse.config.reference import default_toml

__all__ = [
    "Config",
    "ConfigError",
    "Endpoint",
    "Problem",
    "RelayDomain",
    "Restriction",
    "default_toml",
    "from_mapping",
    "load",
    "split_next_hop",
]
