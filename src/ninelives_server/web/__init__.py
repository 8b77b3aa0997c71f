"""The server-rendered pages; they translate, services decide."""
