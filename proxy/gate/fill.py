"""What is put into a body here: the secret of an OAuth application, which no client of ours ever holds."""

import json
from collections.abc import Iterable, Mapping, Sequence

from proxy.errors import Refusal
from proxy.gate.bodies import strict_object
from proxy.gate.query import fold
from proxy.secret import Secret

APPLICATION = "client_id"  # the member that names the application


def filled(
    body: bytes,
    names: Sequence[str],
    apps: Mapping[str, Secret],
    *,
    grant: str,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> tuple[bytes, Secret]:
    """The body with the application's secret in each member of `names`, whatever stood there, and that secret.

    `apps` maps the applications that `grant` keeps to their secrets. Raises `Refusal("guard-denied")` for a body that
    is not one strict JSON object, or that names no such application. What is sent is written anew, in plain ASCII and
    so that it cannot be read as a form.
    """
    members = strict_object(body, headers)
    application = members.get(APPLICATION)
    secret = apps.get(application) if isinstance(application, str) else None
    if secret is None:
        raise Refusal(
            "guard-denied",
            f"The body must name, in `{APPLICATION}`, an application whose secret is kept for the grant {grant}.",
            fix=f"add the application, with its client_secret_file, under grants.{grant}.apps",
        )
    replaced = {fold(name) for name in names}
    kept = {name: value for name, value in members.items() if fold(name) not in replaced}
    return _written(kept | dict.fromkeys(names, secret.reveal())), secret


def _written(members: Mapping[str, object]) -> bytes:
    try:
        text = json.dumps(members, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):  # 1e999 was read as infinity, which is no JSON
        raise Refusal("guard-denied", "The body holds what cannot be written again as JSON.") from None
    # Only strings hold these two, and there the escape is the same character.
    return text.replace("&", "\\u0026").replace(";", "\\u003b").encode("ascii")
