"""Every command an operator gives: `./run` lists them."""

from fabric import task
from invoke import Context


@task
def test(context: Context) -> None:
    """Run every test; those that boot the lab run where the lab can."""
    context.run("pytest", pty=False)
