"""The speed of bearerd beside that of other proxies, on the machine of whoever asks: `make bench`; README.md."""
