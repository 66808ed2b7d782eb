from proxy.labels import NONE, OTHER, Names, one_of


def test_a_label_is_a_known_name_or_one_of_two_words() -> None:
    """What is known stays itself; what is not, and what was never found out, have a word each."""
    assert ("a", OTHER, NONE) == (one_of("a", frozenset("a")), one_of("b", frozenset("a")), one_of(None, frozenset()))


def test_names_only_grow() -> None:
    """A mount that a reload has taken away goes on counting under its own name."""
    names = Names()
    names.allow(["m"], ["c"], ["/t"], ["g"])
    names.allow(["n"], [], [], [])
    assert Names(frozenset("mn"), frozenset("c"), frozenset(["/t"]), frozenset("g")) == names
