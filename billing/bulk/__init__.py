"""One operation on many: planned from our own rows, agreed to once, done row by row in the background.

`base` says what it takes to do an operation to many, `kinds` is the registry of those that can be; `jobs` plans,
starts and stops, `rows` does one row.
"""
