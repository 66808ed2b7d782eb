"""`bearerd completion`: the script for a shell, and what it completes beside commands: names from the configuration."""

from contextlib import suppress

import click

from proxy.cli.invocation import Command, Invocation, current

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_BEARERD_COMPLETE"
HOW = {
    "bash": 'eval "$(bearerd completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(bearerd completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "bearerd completion fish > ~/.config/fish/completions/bearerd.fish",
}


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands, options, mounts and clients in a shell."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    assert found is not None  # noqa: S101  click has all three
    script = found(root, {}, "bearerd", VARIABLE)
    text = script.source_template % script.source_vars()  # `source()` would start a bash, to ask how old it is
    if current().as_json:
        current().data({"shell": shell, "script": text})
    else:
        click.echo(f"# {HOW[shell]}\n{text}")


def mounts(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Mounts of the configuration that begin so."""
    return _names(ctx, "mounts", incomplete)


def clients(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Clients of the configuration that begin so."""
    return _names(ctx, "clients", incomplete)


def _names(ctx: click.Context, kind: str, incomplete: str) -> list[str]:
    with suppress(Exception):  # in the middle of a line nobody reads why there is no configuration
        found = (ctx.find_object(Invocation) or Invocation()).server_config()
        names = getattr(found, kind)
        return [name for name in names if name.startswith(incomplete)] if not isinstance(names, str) else []
    return []
