"""Checks in environments of their own: ``nox --list`` names them, ``nox -s lint`` runs one."""

from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_venv = "yes"

ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # the tests run in several processes
IN_PARALLEL = ("--numprocesses=auto", "--dist=worksteal")


def install(session: nox.Session, *packages: str, constraints: str = "constraints.txt") -> None:
    """Install with the versions that continuous integration uses."""
    session.install("-c", f".ci/{constraints}", *packages)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, on the newest versions. Arguments after ``--`` go to pytest."""
    install(session, "-e", ".[test]")
    session.run("pytest", *IN_PARALLEL, *session.posargs, env=ONE_THREAD)


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """The tests that depend on the versions of other libraries, on the oldest supported ones."""
    install(session, "-e", ".[test]", constraints="constraints-oldest.txt")
    files = Path(".ci/tests-oldest.txt").read_text(encoding="utf-8").split()
    session.run("pytest", *IN_PARALLEL, *files, *session.posargs, env=ONE_THREAD)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, types, and the layers."""
    install(session, "-e", ".[test]", "ruff", "mypy")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("pytest", "tests/test_imports.py")


@nox.session
def docs(session: nox.Session) -> None:
    """The pages of the documentation, in ``docs/_build/html``. Arguments after ``--`` go to sphinx-build."""
    install(session, "-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", *session.posargs, "docs", "docs/_build/html", env=ONE_THREAD)
    session.run("python", "docs/links.py", "docs/_build/html")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Every benchmark with ``--smoke``, to see that it runs."""
    install(session, "-e", ".[test]")
    session.run("pytest", *IN_PARALLEL, "tests/test_benchmarks.py", *session.posargs, env=ONE_THREAD)
