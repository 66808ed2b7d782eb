"""What a process has used so far, for figures."""

import psutil


class Measured:
    """Mixed into whatever has a `process`."""

    process: psutil.Process

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return int(self.process.memory_info().rss)

    @property
    def spent(self) -> float:
        """Seconds of processor time so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)
