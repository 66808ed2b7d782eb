"""`python -m proxy.workers LOOP VERSION NUMBER`: a worker, on this event loop, of a supervisor of this version.

The number is that of the file that its link to the supervisor is.
"""

import gc
import signal
import socket
import sys


def main(arguments: list[str]) -> None:
    """Serve until the link ends. Signals are the supervisor's: a terminal, or a service manager, sends them to all."""
    gc.disable()  # until all is imported
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    from proxy import eventloop, hardening, logs
    from proxy.workers import vintage
    from proxy.workers.worker import Worker

    hardening.harden()
    logs.setup("auto", "info", sys.stderr)  # until custody says how
    logs.claim_stderr()
    logs.catch_uncaught()
    choice, version, file = arguments
    if vintage.differs(version):
        sys.exit(vintage.OTHER)
    supervisor = socket.socket(fileno=int(file))

    async def work() -> None:
        worker = Worker(supervisor)
        gc.enable()
        gc.freeze()
        await worker.run()

    eventloop.run(work(), eventloop.factory(choice))  # type: ignore[arg-type]  # the supervisor knows the words


if __name__ == "__main__":
    main(sys.argv[1:])
