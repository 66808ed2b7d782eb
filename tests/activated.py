"""`python tests/activated.py NUMBER COMMAND…`: the command, given that open listening socket as systemd gives one."""

import os
import sys

FIRST = 3

if __name__ == "__main__":
    number = int(sys.argv[1])
    os.dup2(number, FIRST)  # it is inherited then
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "bearerd.socket"}
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606
