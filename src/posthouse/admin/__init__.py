"""What administrators do: plain functions, one per thing, called by the command line, the web and the API."""
