"""The `audiovq` command: click commands that read options, call the library and print. No model code is here."""
