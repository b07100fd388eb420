"""The measured programs, each run as a process of its own: `python -m bench.subjects.NAME`.

They take their settings from the environment as the services do, and print one JSON object.
"""
