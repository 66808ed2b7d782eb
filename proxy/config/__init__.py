"""YAML → frozen sections: all mistakes at once, each with line and column and what to do about it.

`document` reads YAML, `model` says which keys there are, `merge` lays flags and environment over the file, `faults`
words what the models refuse, `checks` holds the sections against each other, `load` does it all in order.
"""

from proxy.config.address import Address as Address
from proxy.config.address import Tcp as Tcp
from proxy.config.address import Unix as Unix
from proxy.config.config import Config as Config
from proxy.config.document import Document as Document
from proxy.config.document import parse_yaml as parse_yaml
from proxy.config.load import Loaded as Loaded
from proxy.config.load import find as find
from proxy.config.load import load as load
from proxy.config.model import Grant as Grant
from proxy.config.model import Limits as Limits
from proxy.config.model import Mount as Mount
from proxy.config.model import Tls as Tls
from proxy.config.model import UnixSocket as UnixSocket
from proxy.config.model import schema as schema
from proxy.config.portrange import PortRange as PortRange
from proxy.config.problem import ConfigInvalid as ConfigInvalid
from proxy.config.problem import Mark as Mark
from proxy.config.problem import Problem as Problem
from proxy.config.problem import did_you_mean as did_you_mean
from proxy.config.problem import render_problems as render_problems
