"""`python -m proxy` is `bearerd`."""

from proxy.cli import main

main()
