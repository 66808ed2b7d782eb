"""What Prometheus would make of a scrape."""

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]


def samples(text: bytes, name: str) -> dict[Labels, float]:
    """Labels and values of every series with this name."""
    families = text_string_to_metric_families(text.decode())
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sorted(sample.labels.items())): sample.value for sample in found}


def samples_by_name(text: bytes) -> dict[str, list[Labels]]:
    """The labels of every series, by its name."""
    found: dict[str, list[Labels]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(tuple(sorted(sample.labels.items())))
    return found


def families(text: bytes) -> dict[str, tuple[str, str]]:
    """The families by the name that a page has them under, with their type and text."""
    found = text_string_to_metric_families(text.decode())
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: (family.type, family.documentation)
        for family in found
    }
