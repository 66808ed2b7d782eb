"""The proxies that are measured, each with its configuration: it checks the certificate and writes the bearer."""
