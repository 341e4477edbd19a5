"""What stands around a list: cards above it, views of it, its rows in words, and the ways to take it away."""
