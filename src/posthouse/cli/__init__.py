"""The command line: one file per noun, each thin over admin/.

A noun's module exposes `app`, a cyclopts App, and stands in main.NOUNS. `sendmail` alone has options of
its own kind and is a plain function.
"""
