"""One file a subcommand: read the options, call one function, print where the result is."""
