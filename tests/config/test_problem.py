from proxy.config import ConfigInvalid, Mark, Problem, did_you_mean, parse_yaml, render_problems
from proxy.config.problem import closest, dotted, in_order

UNKNOWN = Problem(
    Mark(2, 3), "mounts.enviroment", "unknown key 'enviroment'", "did you mean 'environment'?", source="c.yaml"
)


def test_a_problem_is_one_line() -> None:
    """Place, path, what is wrong and what to do, in the form that editors and terminals can jump to."""
    assert "c.yaml:2:3: error: mounts.enviroment: unknown key 'enviroment', did you mean 'environment'?" == str(UNKNOWN)
    assert "BEARERD_X: error: no such setting" == str(Problem(None, "", "no such setting", source="BEARERD_X"))


def test_problems_are_sorted_by_place_and_each_once() -> None:
    """Lines in order, what stands in no file at the end, no repetition."""
    early, late = Problem(Mark(1, 9), "a", "x"), Problem(Mark(10, 1), "b", "x")
    nowhere = Problem(None, "c", "x", source="BEARERD_C")
    assert (early, late, nowhere) == in_order([nowhere, late, early, late])


def test_the_exception_carries_all_of_them() -> None:
    """`ConfigInvalid` is sorted, and its text is the list."""
    error = ConfigInvalid([Problem(Mark(2, 1), "b", "y"), Problem(Mark(1, 1), "a", "x")], "config.yaml")
    assert "config.yaml:1:1: error: a: x\nconfig.yaml:2:1: error: b: y" == str(error)
    assert ("config.yaml", 2) == (error.name, len(error.problems))


def test_the_line_and_a_caret_follow() -> None:
    """The caret stands below the column; a tab before it stays a tab."""
    document = parse_yaml("mounts:\n  enviroment: live\n", "c.yaml")
    assert f"{UNKNOWN}\n  enviroment: live\n  ^" == render_problems([UNKNOWN], document)
    assert str(UNKNOWN) == render_problems([UNKNOWN])
    tabbed = parse_yaml("a:\n\tb: 1\n", "c.yaml")
    assert "\tb: 1\n\t^" == "\n".join(
        render_problems([Problem(Mark(2, 2), "", "x", source="c.yaml")], tabbed).split("\n")[1:]
    )


def test_colour_marks_the_word_error_only() -> None:
    """Everything else stays as it is, for terminals that can search."""
    assert "\x1b[1;31merror:\x1b[0m" in render_problems([UNKNOWN], color=True)
    assert "\x1b" not in render_problems([UNKNOWN])


def test_a_secret_on_the_line_is_not_shown() -> None:
    """A mistake next to a secret does not print it, whatever the key is called exactly."""
    lines = [
        "client_secret: canary, with a comma",
        "grants: {x: {client_secrett: 'canary'}}",
        "API-Key = canary",
        "refresh_token: canary",
        "key brd_canary",
        "store: postgresql://u:canary@db/x",
        "egress_proxy: http://u:can/canary@canary@host:3128",
    ]
    document = parse_yaml("\n".join(lines), "c.yaml")
    shown = render_problems([Problem(Mark(n, 1), "", "x", source="c.yaml") for n in range(1, 8)], document)
    assert "canary" not in shown
    assert 7 == shown.count("***")


def test_addresses_and_files_of_secrets_are_shown() -> None:
    """`token_url` and `client_secret_file` are no secrets, and the mistake is often in them."""
    document = parse_yaml("token_url: https://x/\nclient_secret_file: a.secret\n", "c.yaml")
    shown = render_problems([Problem(Mark(n, 1), "", "x", source="c.yaml") for n in (1, 2)], document)
    assert "https://x/" in shown
    assert "a.secret" in shown


def test_no_caret_where_it_would_be_wrong() -> None:
    """Behind a masked value and far to the right there is no caret; a hidden line is not shown at all."""
    document = parse_yaml(f"password: abc, de\nb: {'x' * 400}\n", "c.yaml")
    behind = Problem(Mark(1, 16), "", "m", source="c.yaml")
    assert [str(behind), "password: ***"] == render_problems([behind], document).split("\n")
    far = Problem(Mark(2, 300), "", "m", source="c.yaml")
    assert str(far) == render_problems([far], document)
    hidden = Problem(Mark(1, 1), "", "m", source="c.yaml", hidden=True)
    assert str(hidden) == render_problems([hidden], document)


def test_suggestions_come_only_when_close() -> None:
    """A near miss is named, anything else is not guessed at."""
    assert "did you mean 'listen'?" == did_you_mean("lisen", ["listen", "log"])
    assert (None, None) == (did_you_mean("zzz", ["listen"]), closest("zzz", ["listen"]))


def test_paths_are_dotted() -> None:
    """Numbers of list items too."""
    assert "mounts.questrade.scopes.0" == dotted(("mounts", "questrade", "scopes", 0))
