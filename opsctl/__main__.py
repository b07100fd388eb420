"""`opsctl`: the operator's command line; `opsctl --help` lists the commands."""

_INTERRUPTED = 130


def main() -> None:
    """Runs the command line; `opsctl.errors` lists the exit statuses."""
    try:
        # The import takes a moment: Ctrl-C during it must not print a traceback either.
        from opsctl.command_line import run_command_line  # noqa: PLC0415

        run_command_line()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


if __name__ == "__main__":
    main()
