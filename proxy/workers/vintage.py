"""Are the processes of one server of one version? What they tell each other fits no two.

The files of bearerd may be replaced while a server runs. What is started anew after that is another program than the
supervisor that starts it: it must not open the store, nor take what custody gives it.
"""

import sys

from proxy import __version__

OTHER = 75  # the exit code of a process that is of another version than its supervisor


def differs(supervisor: str) -> bool:
    """Whether we are of another version than the supervisor that has started us. Then that is said on stderr."""
    if supervisor == __version__:
        return False
    sys.stderr.write(f"bearerd {__version__} is installed now, and the server that runs is {supervisor}: restart it\n")
    return True
