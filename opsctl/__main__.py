"""`opsctl`: for whoever runs the system. `opsctl --help` lists what it does."""

_INTERRUPTED = 130


def main() -> None:
    """Runs the command line; exit status 2 for a wrong call, 1 if it can't be done."""
    try:
        # Loading takes a moment: Ctrl-C leaves no traceback then either.
        from opsctl.command_line import run_command_line  # noqa: PLC0415

        run_command_line()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


if __name__ == "__main__":
    main()
