"""One operation on many: planned from our own rows, agreed to once, done row by row in the background.

`kinds` says how an operation is done to many, `jobs` plans, starts and stops, `rows` does one row.
"""
