"""The `audiovq` command: click commands that read options, call the library and print; no model code lives here."""
